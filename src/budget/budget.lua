-- One budget of requests for all replicas. Times are microseconds by Redis's clock.
--
-- KEYS: a hash with everything, a list with news. ARGV: the time (0: Redis's), this replica, requests per
-- second, burst, requests per hour that trickle, burst of the hour (0: no limit), lane (-1: only a report,
-- -2: it leaves), calls, how long the first has waited, requests made without a permit, the newest known
-- news, silence of a replica after which its share is kept free, and after which it is forgotten, how many
-- replicas this one knew, then news.
--
-- Returns: permits, time to wait, replicas, number of the newest news, and its news as age and text.
local state, list = KEYS[1], KEYS[2]
local now = tonumber(ARGV[1])
if now == 0 then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end
local me, rate, burst = ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local hour_rate, hour_burst = tonumber(ARGV[5]) / 3600, tonumber(ARGV[6])
local lane, calls, waited, spent = tonumber(ARGV[7]), tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
local heard, silent_after, forgotten_after = tonumber(ARGV[11]), tonumber(ARGV[12]), tonumber(ARGV[13])
local knew = tonumber(ARGV[14])
local function text(number) return string.format('%.6f', number) end

local known = {}
local fields = redis.call('HGETALL', state)
for i = 1, #fields, 2 do known[fields[i]] = fields[i + 1] end

if lane == -2 then
  redis.call('HDEL', state, 'm:' .. me, 'w:' .. me)
  return {0, 0, 0, 0}
end

-- A new state, as after Redis lost its data, does not know who uses a share of the rate meanwhile. Those who
-- come to it say how many they were, and so many there are until who is missing would be forgotten.
local born = math.min(now, tonumber(known.born or now))
local expected = tonumber(known.expected or 0)
if now - born > forgotten_after then
  expected = 0
elseif known['m:' .. me] == nil then
  expected = math.max(expected, knew)
end

-- Who is there, and who may be making requests without us.
known['m:' .. me] = now
local members, silent = 0, 0
for field, value in pairs(known) do
  if string.sub(field, 1, 2) == 'm:' then
    local age = now - tonumber(value)
    if age > forgotten_after then
      redis.call('HDEL', state, field, 'w:' .. string.sub(field, 3))
    else
      members = members + 1
      if age > silent_after then silent = silent + 1 end
    end
  end
end
if members < expected then members, silent = expected, silent + expected - members end

-- The buckets. They begin empty: what was used before is not known. A clock that went back adds nothing.
local passed = now - tonumber(known.at or now)
if passed < 0 then passed = 0 end
passed = passed / 1000000
local current = rate * (members - silent) / members
local tokens = math.min(burst, tonumber(known.tokens or 0) + passed * current)
local hour = math.min(hour_burst, tonumber(known.hour or 0) + passed * hour_rate)
if spent > 0 then
  tokens = math.min(tokens, math.max(0, tokens - spent))
  hour = hour - spent
end

-- Who goes first: the more urgent, then who has waited longer. After a while a lane is not overtaken any more
-- by the one above: urgent requests leave up to a fifth to the steady work, and this a quarter to backfill.
local turns = {[1] = 5, [2] = 4}
local function rank(of, since)
  if of > 0 and now - since >= turns[of] * members / rate * 1000000 then return of - 1 end
  return of
end
local granted, wait = 0, 0
if lane >= 0 then
  local since = now - waited
  local mine, ahead = rank(lane, since), 0
  for field, value in pairs(known) do
    if string.sub(field, 1, 2) == 'w:' and string.sub(field, 3) ~= me then
      local its_lane, its_since, until_then = string.match(value, '(%S+) (%S+) (%S+)')
      its_lane, its_since = tonumber(its_lane), tonumber(its_since)
      if tonumber(until_then) >= now then
        local its = rank(its_lane, its_since)
        if its < mine or (its == mine and its_since < since) then ahead = ahead + 1 end
      end
    end
  end
  granted = math.min(calls, math.floor(tokens + 0.000001) - ahead)
  if hour_burst > 0 then granted = math.min(granted, math.floor(hour + 0.000001) - ahead) end
  if granted > 0 then
    tokens, hour = tokens - granted, hour - granted
    redis.call('HDEL', state, 'w:' .. me)
  else
    granted = 0
    -- Who waits behind others than there is room for waits until the bucket is full.
    wait = (math.min(1 + ahead, burst) - tokens) / current
    if hour_burst > 0 then
      wait = math.max(wait, (math.min(1 + ahead, hour_burst) - hour) / hour_rate)
    end
    wait = math.max(wait * 1000000, 1000)
    local again = now + math.min(wait, 1000000) + 250000
    redis.call('HSET', state, 'w:' .. me, lane .. ' ' .. text(since) .. ' ' .. text(again))
  end
end

local newest = tonumber(known.newest or 0)
local news = {}
-- A replica that knows more than there is has met an older state: it hears everything once more.
if heard ~= newest then
  for _, entry in ipairs(redis.call('LRANGE', list, 0, -1)) do
    local number, at, said = string.match(entry, '^(%S+) (%S+) (.*)$')
    if heard > newest or tonumber(number) > heard then
      news[#news + 1] = string.format('%.0f', math.max(0, now - tonumber(at)))
      news[#news + 1] = said
    end
  end
end
for i = 15, #ARGV do
  newest = newest + 1
  redis.call('RPUSH', list, newest .. ' ' .. text(now) .. ' ' .. ARGV[i])
end
if #ARGV >= 15 then
  redis.call('LTRIM', list, -64, -1)
  redis.call('EXPIRE', list, 3600)
end
redis.call('HSET', state, 'm:' .. me, text(now), 'at', text(now), 'tokens', text(tokens), 'hour', text(hour),
  'newest', newest, 'born', text(born), 'expected', expected)
-- The hour's budget is to outlive a pause of all.
redis.call('EXPIRE', state, 7200)
local answer = {granted, math.ceil(wait), members, newest}
for _, said in ipairs(news) do answer[#answer + 1] = said end
return answer
