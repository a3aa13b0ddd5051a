-- ARGV[3]: seconds that an epoch's name lives unused; ARGV[4]: how a new one is told from all before it.
-- Answers the epoch of this server, which begins with this call unless it is under way.
local here = server()
local epoch = call('GET', KEYS[1])
if not epoch or string.match(epoch, '^(%w+%-%w+)%-') ~= here then
  epoch = here .. '-' .. ARGV[4]
end
call('SET', KEYS[1], epoch, 'EX', ARGV[3])
local live = string.gsub(KEYS[1], 'epoch$', '') .. epoch .. ':live'
call('ZADD', live, '+inf', '')
call('EXPIRE', live, KEEP)
return epoch
