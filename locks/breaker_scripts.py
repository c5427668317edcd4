"""The Lua of the circuit breaker.

KEYS: a hash with ``until`` (microseconds, by Redis' clock; there while open), ``generation`` (new with each opening and
closing), ``row`` (failures one after another), ``times`` (openings since it was last closed), ``probe`` and ``probe_until``,
``why``, ``name``, and ``ok:N`` and ``bad:N``, calls counted in tenths of the window.
"""

from __future__ import annotations

from .scripts import Script

_COMMON = """
local in_a_row, share, at_least = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local window, open_for, longest, probe_for = tonumber(ARGV[4]), tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local t = redis.call('TIME')
local now = t[1] * 1000000 + t[2]
local function text(n) return string.format('%.0f', n) end
local f = redis.call('HMGET', KEYS[1], 'until', 'generation', 'row', 'times', 'probe', 'probe_until', 'why')
local ends, generation, row, times = tonumber(f[1] or nil), f[2] or '0', tonumber(f[3] or 0), tonumber(f[4] or 0)
local why = f[7] or ''
-- Further ahead than it can be: Redis' clock went back.
if ends and ends > now + longest then
  ends = now + longest
  redis.call('HSET', KEYS[1], 'until', text(ends))
end
local probe_until = tonumber(f[6] or 0)
local probing = f[5] and probe_until > now and probe_until <= now + probe_for
"""

# ARGV besides the rule: a token.
ALLOW = Script(
    _COMMON
    + """
if not ends then return { 'yes', generation } end
if ends > now then return { 'no', text(ends - now), why } end
if probing then return { 'no', text(math.min(probe_until - now, open_for)), why } end
redis.call('HSET', KEYS[1], 'probe', ARGV[8], 'probe_until', text(now + probe_for))
return { 'probe', generation }
"""
)

# ARGV besides the rule: generation, token, 1 if it went well, why not, name.
RECORD = Script(
    _COMMON
    + """
if ARGV[8] ~= generation then return 0 end
local went_well, fields = ARGV[10] == '1', redis.call('HGETALL', KEYS[1])

local function turn(opened_times)
  redis.call('DEL', KEYS[1])
  redis.call('HSET', KEYS[1], 'generation', text(now), 'name', ARGV[12])
  if opened_times then
    -- Twice as long with each probe that fails.
    local left = math.min(longest, open_for * 2 ^ math.min(opened_times, 30))
    redis.call('HSET', KEYS[1], 'until', text(now + left), 'times', opened_times + 1, 'why', ARGV[11])
  end
  redis.call('PEXPIRE', KEYS[1], text((2 * longest + probe_for + window) / 1000))
  return 1
end

if ends then
  if f[5] ~= ARGV[9] then return 0 end
  if went_well then return turn(nil) end
  return turn(times)
end

local part = math.floor(now * 10 / window)
local good, bad = 0, 0
for i = 1, #fields, 2 do
  local kind, counted = string.match(fields[i], '^(%a+):(%d+)$')
  if kind then
    counted = tonumber(counted)
    if counted <= part - 10 or counted > part then redis.call('HDEL', KEYS[1], fields[i])
    elseif kind == 'ok' then good = good + tonumber(fields[i + 1])
    else bad = bad + tonumber(fields[i + 1]) end
  end
end
if went_well then
  redis.call('HSET', KEYS[1], 'row', 0)
  redis.call('HINCRBY', KEYS[1], 'ok:' .. text(part), 1)
else
  row, bad = row + 1, bad + 1
  if row >= in_a_row or (good + bad >= at_least and bad / (good + bad) >= share) then return turn(0) end
  redis.call('HSET', KEYS[1], 'row', row, 'why', ARGV[11])
  redis.call('HINCRBY', KEYS[1], 'bad:' .. text(part), 1)
end
redis.call('HSET', KEYS[1], 'name', ARGV[12])
redis.call('PEXPIRE', KEYS[1], text((2 * longest + probe_for + window) / 1000))
return 1
"""
)

# ARGV besides the rule: generation, token.
GIVE_BACK = Script(
    _COMMON
    + """
if ARGV[8] ~= generation or f[5] ~= ARGV[9] then return 0 end
return redis.call('HDEL', KEYS[1], 'probe', 'probe_until')
"""
)

SHOW = Script(
    _COMMON
    + """
if not ends then return { 'closed', '0', why, row } end
if ends > now then return { 'open', text(ends - now), why, row } end
return { 'half-open', text(probing and probe_until - now or 0), why, row }
"""
)
