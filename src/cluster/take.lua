-- Takes or extends the lease of a shard.
-- KEYS: lease, state
-- ARGV: instance, TTL in ms, own fencing token or 0, 1 while that lease is in force by the own clock
-- Returns: 0 refused, 1 extended, 2 taken; the fencing token, or ms until it may be free; the token of the
--          lease before, or 0 when it is unknown; the server's run id
local server = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)') or ''
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local state = redis.call('HMGET', KEYS[2], 'server', 'settled', 'fence')
local settled = tonumber(state[2] or '0')
if state[1] ~= server then
  -- A server that was restarted, promoted or emptied may have lost leases that are in force still.
  settled = now + ARGV[2]
  redis.call('HSET', KEYS[2], 'server', server, 'settled', string.format('%d', settled))
end
local before = state[3] or '0'
local lease = redis.call('HMGET', KEYS[1], 'instance', 'fence')
if lease[1] == ARGV[1] and lease[2] == ARGV[3] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {1, ARGV[3], before, server}
end
if ARGV[4] ~= '1' then
  if lease[1] then
    return {0, string.format('%d', math.max(redis.call('PTTL', KEYS[1]), 0)), before, server}
  end
  if now < settled then
    return {0, string.format('%d', settled - now), before, server}
  end
elseif lease[1] and lease[1] ~= ARGV[1] then
  return {0, string.format('%d', math.max(redis.call('PTTL', KEYS[1]), 0)), before, server}
end
-- Tokens rise even when the last one is lost.
local fence = string.format('%d', math.max(tonumber(before) + 1, now))
redis.call('HSET', KEYS[2], 'fence', fence, 'sequence', 0)
redis.call('HSET', KEYS[1], 'instance', ARGV[1], 'fence', fence)
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return {2, fence, before, server}
