-- Adds messages to a list that nobody may ever read.
-- KEYS: the list
-- ARGV: its TTL in ms, how many messages it holds at most, messages
for at = 3, #ARGV do
  redis.call('RPUSH', KEYS[1], ARGV[at])
end
redis.call('LTRIM', KEYS[1], -ARGV[2], -1)
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return #ARGV - 2
