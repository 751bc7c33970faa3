-- Reads what changed in the directory.
-- KEYS: directory, its log
-- ARGV: the revision that is known, how many changes at most
-- Returns: the revision now, then field, its revision and value for each change; a value of '' is gone
local revision = redis.call('HGET', KEYS[1], 'revision') or '0'
local changes = {revision}
local fields = redis.call('ZRANGEBYSCORE', KEYS[2], '(' .. ARGV[1], '+inf', 'WITHSCORES', 'LIMIT', 0, ARGV[2])
for at = 1, #fields, 2 do
  changes[#changes + 1] = fields[at]
  changes[#changes + 1] = fields[at + 1]
  changes[#changes + 1] = redis.call('HGET', KEYS[1], fields[at]) or ''
end
return changes
