-- KEYS and ARGV as for admit, without rates. Tests nothing. Answers 1.
if call('GET', KEYS[1]) ~= ARGV[1] then return EPOCH end
if call('EXISTS', KEYS[2]) == 1 then return 1 end
local asked, limits = cmsgpack.unpack(ARGV[5])
local ns, nh, id = limits[2], limits[3], ARGV[3]
local now, seconds = clock()
for i = 3, 2 + ns do
  local taken = (call('GET', KEYS[i]) or 0) % PLACE
  call('SET', KEYS[i], string.format('%.0f', (seconds + KEEP) * PLACE + taken + 1), 'EX', KEEP)
end
local at_key = 3 + ns
for i = 1, nh do
  local held, budget = KEYS[at_key], string.sub(KEYS[at_key], #p + 3)
  local got = call('MGET', held, KEYS[at_key + 1], KEYS[at_key + 2])
  if not (got[1] and got[2]) then begin(budget, 0, 0) end
  if asked[i] ~= '0' then call('INCRBY', held, asked[i]) end
  if not (got[1] and got[2] and got[3]) then account(budget, id) end
  at_key = at_key + 3
end
call('SET', KEYS[2], ARGV[5] .. ARGV[6], 'EX', KEEP)
call('ZADD', p .. 'live', math.floor(now / 1000) + ARGV[4], id)
return 1
