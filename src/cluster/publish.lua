-- Writes entries of the directory; an empty one is removed, and that it was is remembered.
-- KEYS: directory, its log
-- ARGV: field, value, field, value …
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
for at = 1, #ARGV, 2 do
  revision = redis.call('HINCRBY', KEYS[1], 'revision', 1)
  redis.call('ZADD', KEYS[2], revision, ARGV[at])
  if ARGV[at + 1] == '' then
    redis.call('HDEL', KEYS[1], ARGV[at])
  else
    redis.call('HSET', KEYS[1], ARGV[at], ARGV[at + 1])
  end
end
return revision
