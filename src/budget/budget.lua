-- One budget of requests for all replicas. Times are microseconds by Redis's clock.
--
-- KEYS: a hash with everything, a list with news. ARGV: the time (0: Redis's), this replica, requests per
-- second, burst, requests per hour that trickle, burst of the hour (0: no limit), lane (-1: only a report,
-- -2: it leaves), calls, how long the first has waited, requests made without a permit, the newest known
-- news, silence of a replica after which its share is kept free, and after which it is forgotten, how many
-- replicas this one knew, when it asked by Redis's clock (0: it does not know that clock), how long permits
-- live, whether it uses its share of the rate without us, then news.
--
-- Returns: permits, time to wait, replicas, whether this one is new to them, number of the newest news, the
-- time, and its news as age and text.
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
local knew, asked, lifetime = tonumber(ARGV[14]), tonumber(ARGV[15]), tonumber(ARGV[16])
local uses_share, first_news = ARGV[17] == '1', 18
local function text(number) return string.format('%.6f', number) end

local known = {}
local fields = redis.call('HGETALL', state)
for i = 1, #fields, 2 do known[fields[i]] = fields[i + 1] end

if lane == -2 then
  redis.call('HDEL', state, 'm:' .. me, 'w:' .. me)
  return {0, 0, 0, 0, 0, now}
end

-- What was asked long ago, and stood in a queue while Redis or the network stood still, is a sign of life of
-- then: who asked may have given up waiting since.
local late = 0
if asked > 0 and asked < now then late = now - asked end
local seen_before = tonumber(known['m:' .. me])
local seen = now - late
-- Who says that it uses its share counts as one that is not heard.
if uses_share then seen = math.min(seen, now - silent_after - 1) end
seen = math.max(seen, seen_before or 0)
local is_new = 0
if seen_before == nil or now - seen_before > forgotten_after then is_new = 1 end

-- Replicas report all the time: where none has for a while, Redis was away, and what they used meanwhile is not
-- known yet. Neither is it to a new state, as after Redis lost its data.
local at = tonumber(known.at or 0)
local is_back = now - at > silent_after
-- Nor is who uses a share of the rate. Those who come say how many they were, and so many there are until who
-- is missing would be forgotten.
local born = math.min(now, tonumber(known.born or now))
if is_back then born = now end
local expected = tonumber(known.expected or 0)
if now - born > forgotten_after then
  expected = 0
elseif seen_before == nil or seen_before < born then
  expected = math.max(expected, knew)
end

-- Who is there, and who may be making requests without us.
known['m:' .. me] = seen
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
members = math.max(members, 1)

-- The buckets. They begin empty. A clock that went back adds nothing.
local passed = 0
if known.at ~= nil then passed = math.max(0, now - at) / 1000000 end
local current = rate * (members - silent) / members
local tokens = 0
if not is_back then tokens = math.min(burst, tonumber(known.tokens or 0) + passed * current) end
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
if lane >= 0 and late <= lifetime then
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
for i = first_news, #ARGV do
  newest = newest + 1
  redis.call('RPUSH', list, newest .. ' ' .. text(now) .. ' ' .. ARGV[i])
end
if #ARGV >= first_news then
  redis.call('LTRIM', list, -64, -1)
  redis.call('EXPIRE', list, 3600)
end
redis.call('HSET', state, 'm:' .. me, text(seen), 'at', text(now), 'tokens', text(tokens), 'hour', text(hour),
  'newest', newest, 'born', text(born), 'expected', expected)
-- The hour's budget is to outlive a pause of all.
redis.call('EXPIRE', state, 7200)
local answer = {granted, math.ceil(wait), members, is_new, newest, now}
for _, said in ipairs(news) do answer[#answer + 1] = said end
return answer
