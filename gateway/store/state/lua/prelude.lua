-- What all scripts begin with. KEYS[1] is the key of the epoch, ARGV[1] the epoch that the caller works in,
-- ARGV[2] what the names of that epoch's keys begin with.
--
--   r:<rate>          three doubles: how full it was, at which microsecond, until when the key is sure to live
--   s:<place>         how many are taken + PLACE * until when (epoch seconds) the key is sure to live
--   b:<budget>        what is held, and
--   c:<budget>          what is spent: int64 nano-units
--   k:<budget>        that it is loaded: until when (epoch seconds) the three are sure to live
--   v:<budget>        of one that is not loaded yet, its version, and
--   a:<budget>          the reservations that it accounts for: a set
--   h:<reservation>   what it took, as the caller packed it: see admit
--   live              sorted set: reservations by deadline (milliseconds); '' is never due, and keeps its TTL
--
-- Most of what a script costs is its commands, one with a TTL twice as much: so they are few, and a TTL is
-- set only where too little is left of it, which is why until when a key lives is part of what it says.
--
-- Numbers here are doubles, exact to 2^53. Money may be greater: it stays decimal text, is moved by INCRBY
-- and DECRBY alone, and compared in halves where it must be.
local KEEP = 604800 -- seconds that what is not used any more stays
local PLACE = 1048576 -- more than one process has under way

local p = ARGV[2]
local call = redis.call

local function clock() -- microseconds since the epoch, and seconds
  local t = call('TIME')
  return t[1] * 1000000 + t[2], tonumber(t[1])
end

local function halves(amount) -- billions, and the rest
  local high, low = tonumber(string.sub(amount, 1, -10)) or 0, tonumber(string.sub(amount, -9))
  if string.byte(amount) == 45 and low > 0 then low = -low end
  return high, low
end

local function text_less(a, b) -- whole numbers as decimal text, neither negative
  if #a ~= #b then return #a < #b end
  return a < b
end

local function begin(budget, spent, version) -- one that accounts for nothing but `spent`
  call('SET', p .. 'b:' .. budget, 0, 'EX', KEEP)
  call('SET', p .. 'c:' .. budget, spent, 'EX', KEEP)
  call('SET', p .. 'v:' .. budget, version, 'EX', KEEP)
  call('DEL', p .. 'k:' .. budget, p .. 'a:' .. budget)
end

local function account(budget, id) -- a reservation of one that is not loaded
  call('INCR', p .. 'v:' .. budget)
  call('EXPIRE', p .. 'v:' .. budget, KEEP)
  call('SADD', p .. 'a:' .. budget, id)
  call('EXPIRE', p .. 'a:' .. budget, KEEP)
end

local EPOCH = { err = 'EPOCH the epoch is another' }
