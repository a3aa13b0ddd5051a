-- ARGV[3]: the budget's bucket. Answers {version, reservation ...}, or nil if it is loaded.
if call('GET', KEYS[1]) ~= ARGV[1] then return EPOCH end
local budget = ARGV[3]
local b = call('MGET', p .. 'b:' .. budget, p .. 'c:' .. budget, p .. 'k:' .. budget, p .. 'v:' .. budget)
if b[1] and b[2] and b[3] then return false end
if not (b[1] and b[2] and b[4]) then
  begin(budget, 0, 0)
  return { 0 }
end
local answer = call('SMEMBERS', p .. 'a:' .. budget)
table.insert(answer, 1, tonumber(b[4]))
return answer
