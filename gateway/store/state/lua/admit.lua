-- KEYS[2]: the reservation's; then each rate's; each place's; of each budget b:, c: and k:.
-- ARGV[3]: its id; ARGV[4]: how long it lives (ms);
-- ARGV[5]: two lists in MessagePack: {amount of each rate ..., of each hold ...} and {how many rates, places,
--   holds; of each rate limit, microseconds, 1 if of tokens; each place's limit; each hold's};
-- ARGV[6]: a third: the keys of rates of tokens, of places, of budgets (three each). All are the record.
-- Answers {1, remaining, reset ...} | {2, rate, remaining, reset, wait or -1} | {3, place, taken}
--   | {4, hold, held, spent} | {5, hold ...}: admitted, limited, full, refused, not loaded; times in us.
local asked, limits = cmsgpack.unpack(ARGV[5])
local nr, ns, nh = limits[1], limits[2], limits[3]
local got = call('MGET', unpack(KEYS))
if got[1] ~= ARGV[1] then return EPOCH end
local repeated = got[2]
local now, seconds = clock()
local ceil, floor, max = math.ceil, math.floor, math.max

-- Test everything; only then take.
local answer, levels, lasting = { 1 }, {}, {}
local longest, worst = -1, nil
for i = 1, nr do
  local limit, span, amount = limits[3 * i + 1], limits[3 * i + 2], asked[i]
  local level, lasts, raw = 0, 0, got[2 + i]
  if raw then
    local at
    level, at, lasts = struct.unpack('<ddd', raw)
    local passed = now - at
    if passed > 0 then
      level = level - passed * limit
      if level < 0 then level = 0 end
    end
  end
  local full = limit * span
  local after = level
  if not repeated then after = level + amount * span end
  if after > full and not repeated then
    local wait = math.huge
    if amount <= limit then wait = ceil((after - full) / limit) end
    if wait > longest then
      longest = wait
      local reset = 0
      if limit > 0 then reset = ceil(level / limit) end
      if wait == math.huge then wait = -1 end
      worst = { 2, i - 1, max(0, floor((full - level) / span)), reset, wait }
    end
  else
    local reset = 0
    if limit > 0 then reset = ceil(after / limit) end
    levels[i], lasting[i] = after, lasts
    answer[2 * i] = max(0, floor((full - after) / span))
    answer[2 * i + 1] = reset
  end
end
if repeated then return answer end
if worst then return worst end

local at_limit, at_key = 3 + 3 * nr, 2 + nr
for i = 1, ns do
  local taken = (got[at_key + i] or 0) % PLACE
  if taken >= limits[at_limit + i] then return { 3, i - 1, taken } end
end

at_limit, at_key = at_limit + ns, at_key + ns
local missing, refused = nil, nil
for i = 1, nh do
  local held, spent, lasts = got[at_key + 1], got[at_key + 2], got[at_key + 3]
  if not (held and spent and lasts) then
    missing = missing or { 5 }
    missing[#missing + 1] = i - 1
  else
    if tonumber(lasts) < seconds + KEEP / 2 then
      call('EXPIRE', KEYS[at_key + 1], KEEP)
      call('EXPIRE', KEYS[at_key + 2], KEEP)
      call('SET', KEYS[at_key + 3], seconds + KEEP, 'EX', KEEP)
    end
    local amount, limit = asked[nr + i], limits[at_limit + i]
    local sum, most = held + spent + amount, tonumber(limit)
    local fits = sum <= most
    if sum >= 2 ^ 53 and most >= 2 ^ 53 then
      local h1, l1 = halves(held)
      local h2, l2 = halves(spent)
      local h3, l3 = halves(amount)
      local h, l = halves(limit)
      fits = (h1 + h2 + h3 - h) * 1000000000 <= l - l1 - l2 - l3
    end
    if not fits and not refused then refused = { 4, i - 1, held, spent } end
  end
  at_key = at_key + 3
end
if missing then return missing end
if refused then return refused end

for i = 1, nr do
  local reset, lasts = answer[2 * i + 1], lasting[i]
  if lasts >= now + reset then
    call('SET', KEYS[2 + i], struct.pack('<ddd', levels[i], now, lasts), 'KEEPTTL')
  else
    local ms = ceil(reset / 500) + 60000
    call('SET', KEYS[2 + i], struct.pack('<ddd', levels[i], now, now + (ms - 2) * 1000), 'PX', ms)
  end
end
at_key = 2 + nr
for i = at_key + 1, at_key + ns do
  local value = tonumber(got[i] or 0)
  if value >= (seconds + KEEP / 2) * PLACE then
    call('INCR', KEYS[i])
  else
    call('SET', KEYS[i], string.format('%.0f', (seconds + KEEP) * PLACE + value % PLACE + 1), 'EX', KEEP)
  end
end
at_key = at_key + ns + 1
for i = 1, nh do
  local amount = asked[nr + i]
  if amount ~= '0' then call('INCRBY', KEYS[at_key], amount) end
  at_key = at_key + 3
end
call('SET', KEYS[2], ARGV[5] .. ARGV[6], 'EX', KEEP)
call('ZADD', p .. 'live', floor(now / 1000) + ARGV[4], ARGV[3])
return answer
