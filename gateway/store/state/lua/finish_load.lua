-- ARGV[3]: the budget's bucket; ARGV[4]: what was spent; ARGV[5]: the version. Answers 1, or 0 if that changed.
if call('GET', KEYS[1]) ~= ARGV[1] then return EPOCH end
local held, spent, lasts = p .. 'b:' .. ARGV[3], p .. 'c:' .. ARGV[3], p .. 'k:' .. ARGV[3]
local b = call('MGET', held, spent, lasts, p .. 'v:' .. ARGV[3])
if b[1] and b[2] and b[3] then return 1 end
if not (b[1] and b[2]) or b[4] ~= ARGV[5] then return 0 end
local _, seconds = clock()
call('INCRBY', spent, ARGV[4])
call('EXPIRE', held, KEEP)
call('EXPIRE', spent, KEEP)
call('SET', lasts, seconds + KEEP, 'EX', KEEP)
call('DEL', p .. 'a:' .. ARGV[3], p .. 'v:' .. ARGV[3])
return 1
