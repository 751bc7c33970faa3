-- Keeps a commit of a shard as a whole.
-- KEYS: lease, state, memory, rows
-- ARGV: instance, fence, sequence, committed_at, 1 to replace everything,
--       how many parts are set and removed, how many rows are set and removed, then these
local lease = redis.call('HMGET', KEYS[1], 'instance', 'fence')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return 0
end
local state = redis.call('HMGET', KEYS[2], 'sequence', 'committed_at')
if tonumber(ARGV[3]) <= tonumber(state[1] or '0') then
  return 2
end
if ARGV[5] == '1' then
  redis.call('DEL', KEYS[3], KEYS[4])
end

-- Lua passes no more than some thousand arguments at once.
local AT_ONCE = 1000
local at = 9
local function call(command, key, arguments)
  local last = at + arguments
  for first = at + 1, last, AT_ONCE do
    redis.call(command, key, unpack(ARGV, first, math.min(first + AT_ONCE - 1, last)))
  end
  at = last
end
call('HSET', KEYS[3], 2 * tonumber(ARGV[6]))
call('HDEL', KEYS[3], tonumber(ARGV[7]))
call('HSET', KEYS[4], 2 * tonumber(ARGV[8]))
call('HDEL', KEYS[4], tonumber(ARGV[9]))

local committed_at = math.max(tonumber(state[2] or '0'), tonumber(ARGV[4]))
redis.call('HSET', KEYS[2], 'sequence', ARGV[3], 'committed_at', committed_at)
return 1
