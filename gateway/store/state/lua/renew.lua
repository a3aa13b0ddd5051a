-- ARGV[3]: seconds that an epoch's name lives unused; ARGV[4]: ttl (ms); ARGV[5]: packed ids.
-- It asks, too, whether the server still is the one that the epoch began on. Answers 1.
if call('GET', KEYS[1]) ~= ARGV[1] or server() ~= string.match(ARGV[1], '^(%w+%-%w+)%-') then
  return EPOCH
end
call('EXPIRE', KEYS[1], ARGV[3])
local ids = cmsgpack.unpack(ARGV[5])
local deadline = math.floor(clock() / 1000) + ARGV[4]
local live = p .. 'live'
for i = 1, #ids do
  call('ZADD', live, 'XX', deadline, ids[i])
end
call('EXPIRE', live, KEEP)
return 1
