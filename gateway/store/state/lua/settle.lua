-- ARGV[3]: the reservation; ARGV[4]: its charge; ARGV[5]: the tokens it used, or '' if nobody knows.
-- Answers 1, or 0 if it is not held.
local id, charge = ARGV[3], ARGV[4]
local record = p .. 'h:' .. id
local got = call('MGET', KEYS[1], record)
if got[1] ~= ARGV[1] then return EPOCH end
if not got[2] then return 0 end
local asked, limits, names = cmsgpack.unpack(got[2])
call('DEL', record)
call('ZREM', p .. 'live', id)
if #names == 0 then return 1 end
got = call('MGET', unpack(names))

local nr, ns, nh = limits[1], limits[2], limits[3]
local used, now, n = tonumber(ARGV[5]), nil, 1
for i = 1, nr do
  if limits[3 * i + 3] == 1 then
    if used and used ~= asked[i] then
      now = now or clock()
      local key, limit, span = names[n], limits[3 * i + 1], limits[3 * i + 2]
      local level, lasts, raw = 0, 0, got[n]
      if raw then
        local at
        level, at, lasts = struct.unpack('<ddd', raw)
        local passed = now - at
        if passed > 0 then level = math.max(0, level - passed * limit) end
      end
      level = math.max(0, level + (used - asked[i]) * span)
      if level == 0 then
        if raw then call('DEL', key) end
      else
        local reset = 0
        if limit > 0 then reset = math.ceil(level / limit) end
        if lasts >= now + reset then
          call('SET', key, struct.pack('<ddd', level, now, lasts), 'KEEPTTL')
        else
          local ms = math.ceil(reset / 500) + 60000
          call('SET', key, struct.pack('<ddd', level, now, now + (ms - 2) * 1000), 'PX', ms)
        end
      end
    end
    n = n + 1
  end
end
for _ = 1, ns do
  local taken = (got[n] or 0) % PLACE
  if taken > 1 then
    call('DECR', names[n])
  elseif taken == 1 then
    call('DEL', names[n])
  end
  n = n + 1
end
for i = nr + 1, nr + nh do
  local held, spent, amount = names[n], names[n + 1], asked[i]
  if not (got[n] and got[n + 1]) then
    -- It was forgotten, and what it held with it: from now on it accounts for this one alone.
    local budget = string.sub(held, #p + 3)
    begin(budget, charge, 0)
    account(budget, id)
  else
    if not got[n + 2] then
      local budget = string.sub(held, #p + 3)
      if call('SISMEMBER', p .. 'a:' .. budget, id) == 0 then -- it was forgotten, as above
        account(budget, id)
        amount = '0'
      end
    end
    if amount ~= '0' then call('DECRBY', held, amount) end
    if charge ~= '0' then call('INCRBY', spent, charge) end
  end
  n = n + 3
end
return 1
