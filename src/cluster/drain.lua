-- Takes the messages of a list.
-- KEYS: the list
-- ARGV: how many at most
local messages = redis.call('LRANGE', KEYS[1], 0, ARGV[1] - 1)
redis.call('LTRIM', KEYS[1], #messages, -1)
return messages
