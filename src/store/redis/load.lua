-- Reads a shard under its lease.
-- KEYS: lease, state, memory, rows
-- ARGV: instance, fence
local lease = redis.call('HMGET', KEYS[1], 'instance', 'fence')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return {0, 0, 0, {}, {}}
end
local state = redis.call('HMGET', KEYS[2], 'committed_at', 'sequence')
local committed_at, sequence = tonumber(state[1] or '0'), tonumber(state[2] or '0')
return {1, committed_at, sequence, redis.call('HGETALL', KEYS[3]), redis.call('HGETALL', KEYS[4])}
