"""Lua that pauses, slows down, gives back and shows the keys of the rate limiter; `locks.limit_scripts` says what they hold."""

from __future__ import annotations

from .limit_scripts import CLOCK, COMMON
from .scripts import Script

# KEYS: state, past, ahead.  ARGV: microseconds, reason.  Answers what is in force: how much longer, and why.
PAUSE = Script(
    CLOCK
    + COMMON
    + """
local k = open_state(KEYS[1])
k.past, k.ahead = KEYS[2], KEYS[3]
local wanted = k.now + tonumber(ARGV[1])
-- A pause is somebody's promise not to call before then; a shorter one must not break it.
if wanted > k.paused then
  k.paused, k.reason = wanted, ARGV[2]
  redis.call('HSET', k.state, 'paused', text(wanted), 'reason', ARGV[2], 'seen', text(k.now))
  expire(k)
end
return { text(k.paused - k.now), k.reason }
"""
)

# KEYS: state.  Answers how much longer it would have been paused.
RESUME = Script(
    CLOCK
    + COMMON
    + """
local k = open_state(KEYS[1])
redis.call('HDEL', k.state, 'paused', 'reason', 'rate', 'rate_at')
return text(math.max(0, k.paused - k.now))
"""
)

# KEYS: states.  Answers, of each, how much longer, and why.
PAUSED = Script(
    CLOCK
    + COMMON
    + """
local answer = {}
for i, state in ipairs(KEYS) do
  local k = open_state(state)
  answer[2 * i - 1], answer[2 * i] = text(math.max(0, k.paused - k.now)), k.reason
end
return answer
"""
)

# KEYS: state, past, ahead.  ARGV: microseconds for which further calls count as one.  Answers the share of the full rate.
SLOW_DOWN = Script(
    CLOCK
    + COMMON
    + """
local k = open_state(KEYS[1])
k.past, k.ahead = KEYS[2], KEYS[3]
local last = tonumber(redis.call('HGET', k.state, 'rate_at') or nil)
-- One storm, heard by every worker, is one reason to slow down.
if not last or k.now - last >= tonumber(ARGV[1]) then
  k.rate = math.max(SLOWEST, k.rate / 2)
  redis.call('HSET', k.state, 'rate', string.format('%.17g', k.rate), 'rate_at', text(k.now), 'seen', text(k.now))
  expire(k)
end
return string.format('%.17g', k.rate)
"""
)

# KEYS: state, past, ahead.  ARGV: when the slot is, on the key's clock, and its permits.  Answers how many were freed.
# What was not used was never a use, so it may go from the past as well; it is near the newest, where LREM begins.
GIVE_BACK = Script(
    CLOCK
    + COMMON
    + """
local at, permits = ARGV[1], tonumber(ARGV[2])
local k = open_state(KEYS[1])
k.past, k.ahead = KEYS[2], KEYS[3]
settle_due(k)
local freed = redis.call('LREM', k.ahead, permits, at)
if freed < permits then freed = freed + redis.call('LREM', k.past, permits - freed, at) end
if redis.call('EXISTS', k.state) == 1 then
  local burst, newest = 1, redis.call('LINDEX', k.past, 0)
  while newest and redis.call('LINDEX', k.past, burst) == newest do burst = burst + 1 end
  redis.call('HSET', k.state, 'have', redis.call('LLEN', k.past), 'burst', burst)
end
return freed
"""
)

# KEYS: state, past, ahead, rebuilt, epoch.  ARGV: epoch, period, permits, count.  Answers 0 if it is outdated.
FINISH_REBUILD = Script(
    CLOCK
    + COMMON
    + """
if redis.call('HGET', KEYS[5], 'id') ~= ARGV[1] then return 0 end
local k = open_state(KEYS[1])
k.past, k.ahead = KEYS[2], KEYS[3]
local newest = tonumber(redis.call('LINDEX', KEYS[4], 0) or nil)
-- What went since the loss and is not recorded yet.  The recorded ones among them must not count twice.
local since = {}
for _, at in ipairs(redis.call('LRANGE', k.past, 0, -1)) do
  if newest and tonumber(at) <= newest then break end
  since[#since + 1] = at
end
redis.call('DEL', k.past)
if newest then redis.call('RENAME', KEYS[4], k.past) end
for i = #since, 1, -1 do redis.call('LPUSH', k.past, since[i]) end
local f = redis.call('HMGET', k.state, 'keep', 'built_period', 'built_permits', 'count')
local keep = math.max(tonumber(f[1] or 0), tonumber(ARGV[3]))
redis.call('LTRIM', k.past, 0, keep - 1)
k.period = math.max(k.period, tonumber(ARGV[2]))
redis.call('HSET', k.state, 'built', ARGV[1], 'built_period', text(k.period), 'built_permits', keep, 'keep', keep,
  'period', text(k.period), 'have', redis.call('LLEN', k.past), 'seen', text(k.now),
  'count', text(math.max(tonumber(f[4] or 0), tonumber(ARGV[4]), k.now)))
expire(k)
return 1
"""
)

# KEYS: state, past, ahead.  Answers a flat list: now, pause left, reason, rate, reserved, next due, then for each limit its
# text, how long ago it was asked for, and how many permits went in its last period or are reserved.
SHOW = Script(
    CLOCK
    + COMMON
    + """
local k = open_state(KEYS[1])
k.past, k.ahead = KEYS[2], KEYS[3]
settle_due(k)
local answer = { text(k.now), text(math.max(0, k.paused - k.now)), k.reason, string.format('%.17g', k.rate), #k.waiting }
local fields = redis.call('HGETALL', k.state)
for i = 1, #fields, 2 do
  local permits, period = string.match(fields[i], '^limit:(%d+):(%d+)$')
  if permits then
    -- The list is sorted: where does the period begin?
    local from, to, since = 0, k.have, k.now - tonumber(period)
    while from < to do
      local middle = math.floor((from + to) / 2)
      if tonumber(redis.call('LINDEX', k.past, middle)) >= since then from = middle + 1 else to = middle end
    end
    answer[#answer + 1] = permits .. ':' .. period
    answer[#answer + 1] = text(k.now - tonumber(fields[i + 1]))
    answer[#answer + 1] = #k.waiting + from
  end
end
return answer
"""
)
