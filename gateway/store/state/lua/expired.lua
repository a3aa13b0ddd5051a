-- ARGV[3]: at most how many. Answers reservation, greatest hold, ... for those that are past their deadline.
if call('GET', KEYS[1]) ~= ARGV[1] then return EPOCH end
local live = p .. 'live'
local ids = call('ZRANGEBYSCORE', live, '-inf', math.floor(clock() / 1000), 'LIMIT', 0, ARGV[3])
local answer = {}
for i = 1, #ids do
  local raw = call('GET', p .. 'h:' .. ids[i])
  if raw then
    local asked, limits = cmsgpack.unpack(raw)
    local greatest = '0'
    for k = limits[1] + 1, limits[1] + limits[3] do
      if text_less(greatest, asked[k]) then greatest = asked[k] end
    end
    answer[#answer + 1] = ids[i]
    answer[#answer + 1] = greatest
  else
    call('ZREM', live, ids[i])
  end
end
return answer
