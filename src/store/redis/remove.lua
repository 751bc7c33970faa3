-- Removes a shard under its lease.
-- KEYS: lease, state, memory, rows
-- ARGV: instance, fence
local lease = redis.call('HMGET', KEYS[1], 'instance', 'fence')
if lease[1] ~= ARGV[1] or lease[2] ~= ARGV[2] then
  return 0
end
redis.call('DEL', KEYS[2], KEYS[3], KEYS[4])
return 1
