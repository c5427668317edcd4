"""The Lua of the rate limiter.  Each script is one step inside Redis and takes the time from Redis alone.

What a key consists of (times are microseconds, whole numbers, on the key's own clock):

``state:KEY``  a hash: what is known of the key, its pause, its effective rate
``past:KEY``   a list, newest first: when the last permits went; as many as the largest limit of the key needs
``ahead:KEY``  a list, oldest first: when the permits will go that are reserved but not yet due

Permits that are due move from ``ahead`` to ``past``.  Who waits for one key must not hold up those who share only another
with it, so a slot may lie before slots that were given out earlier: ``ahead`` is filled where there is room.

Exact over sliding windows: a permit may go at `t` only if no window of the period that contains `t` holds all permits
already.  For each run of that many neighbours (newest at `b`, oldest at `a`, at most a period apart) `t` must not lie in
``[b - period, a + period]``; so the search is a walk over forbidden intervals.  Only runs whose newest member is ahead,
or the newest of the past, can forbid anything from now on: few, however long the period.

Limits of up to a minute are paced too, at nine tenths of period/permits: bursts would only be exact at Redis, and what
happens on the way to the server can push two bursts together.  The tenth lets what was missed be caught up.
"""

from __future__ import annotations

from .scripts import Script

PACED_UP_TO_US = 60_000_000
LONG_FROM_US = 3_600_000_000
SLOWEST = 1 / 16
RECOVERY_US = 600_000_000
"""From nothing to the full rate: ten percent of it a minute."""
SHOWN_FOR_US = 3_600_000_000
"""A key that nobody uses is forgotten after its longest period, and not before this."""
LONGEST_WAIT_US = 600_000_000

CLOCK = """
local function clock()
  local t = redis.call('TIME')
  return t[1] * 1000000 + t[2]
end
"""

# What the scripts share.  `%.0f` and not tostring(): Lua would write a time as 1.7e+15.
COMMON = (
    f"""
local PACED, LONG, SLOWEST, RECOVERY = {PACED_UP_TO_US}, {LONG_FROM_US}, {SLOWEST}, {RECOVERY_US}
local SHOWN, LONGEST_WAIT = {SHOWN_FOR_US}, {LONGEST_WAIT_US}
"""
    + """
local function text(n) return string.format('%.0f', n) end

-- The key's clock is Redis' clock, but never goes back: after a failover to a host whose clock is behind, everything
-- would otherwise wait until it has caught up.
local function open_state(state)
  local f = redis.call('HMGET', state, 'offset', 'seen', 'paused', 'rate', 'rate_at', 'period', 'reason')
  local offset, seen = tonumber(f[1] or 0), tonumber(f[2] or 0)
  local now = clock() + offset
  if now < seen then
    redis.call('HSET', state, 'offset', text(offset + seen - now))
    now = seen
  end
  local k = { state = state, now = now, paused = tonumber(f[3] or 0), period = tonumber(f[6] or 0), reason = f[7] or '' }
  k.rate = 1
  if f[4] then k.rate = math.min(1, tonumber(f[4]) + (now - tonumber(f[5])) / RECOVERY) end
  return k
end

local function expire(k)
  local ttl = math.max(k.period, SHOWN) + 60000000
  for _, name in ipairs({ k.past, k.ahead }) do redis.call('PEXPIRE', name, text(ttl / 1000)) end
  redis.call('PEXPIRE', k.state, text(math.max(ttl, k.paused - k.now + 60000000) / 1000))
end

-- A past that is shorter than it was left was evicted or deleted: what is built on it no longer holds.
local function notice_loss(state, past)
  if redis.call('LLEN', past) < tonumber(redis.call('HGET', state, 'have') or 0) then
    redis.call('HDEL', state, 'built', 'have')
  end
end

-- Permits that have become due belong to the past.
local function settle_due(k)
  notice_loss(k.state, k.past)
  k.waiting = redis.call('LRANGE', k.ahead, 0, -1)
  local due = 0
  while due < #k.waiting and tonumber(k.waiting[due + 1]) <= k.now do
    due = due + 1
    redis.call('LPUSH', k.past, k.waiting[due])
  end
  if due > 0 then
    redis.call('LTRIM', k.ahead, due, -1)
    local keep = tonumber(redis.call('HGET', k.state, 'keep') or 0)
    if keep > 0 then redis.call('LTRIM', k.past, 0, keep - 1) end
    local together, left = 1, {}
    while together < due and k.waiting[due - together] == k.waiting[due] do together = together + 1 end
    for i = due + 1, #k.waiting do left[#left + 1] = k.waiting[i] end
    k.waiting = left
    redis.call('HSET', k.state, 'have', redis.call('LLEN', k.past), 'seen', text(k.now), 'burst', together)
    expire(k)
  end
  k.have = redis.call('LLEN', k.past)
  for i, at in ipairs(k.waiting) do k.waiting[i] = tonumber(at) end
end
"""
)

# KEYS: epoch, then state, past, ahead of each key.
# ARGV: the epoch the caller knows, one to set if there is none, longest wait, how far ahead slots were reserved when it
# was here last, permits, whether it can rebuild, then for each key: the count it has seen, how many limits, and permits
# and period of each.
# Answers {'go', wait, gap, epoch, reserved ahead, at and count of each key...}
# | {'wait', wait, key, why, epoch, reserved ahead} | {'rebuild', key, limit, epoch}.
RESERVE_BODY = (
    COMMON
    + """
local known, fresh, at_most, reserved_ahead = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local permits, can_rebuild = tonumber(ARGV[5]), ARGV[6] == '1'
local real_now = clock()

local epoch = redis.call('HMGET', KEYS[1], 'id', 'settled')
if not epoch[1] then
  redis.call('HSET', KEYS[1], 'id', fresh)
  epoch[1] = fresh
end
-- Redis lost its data since this caller was here: others may still be waiting for slots that Redis has forgotten.
if known ~= '' and known ~= epoch[1] and redis.call('HSETNX', KEYS[1], 'settled', text(real_now + reserved_ahead)) == 1 then
  epoch[2] = text(real_now + reserved_ahead)
end

local rules = {}
local function forbid(key, why) rules[#rules + 1] = { key = key, why = why }; return rules[#rules] end
local function between(rule, from, to) if to > 0 then rule[#rule + 1] = { from, to } end end

local function window_rule(i, k, limit)
  local run = limit.permits - permits + 1
  local f = #k.waiting
  if f + k.have < run then return end
  local oldest_run = math.min(f, f + k.have - run)
  local first = math.max(0, run - 1 - f)
  local past = redis.call('LRANGE', k.past, first, math.max(0, oldest_run + run - 1 - f))
  local function at(n)
    if n < f then return k.waiting[f - n] end
    if n == f then return k.newest end
    return tonumber(past[n - f - first + 1])
  end
  local rule = forbid(i, limit.text)
  for n = oldest_run, 0, -1 do
    local newest, oldest = at(n), at(n + run - 1)
    if newest - oldest <= limit.period then
      between(rule, newest - limit.period - k.now, oldest + limit.period + 1 - k.now)
    end
  end
end

local function spacing_rule(i, k, limit, gap)
  local rule = forbid(i, limit.text)
  if k.newest then between(rule, k.newest - permits * gap + 1 - k.now, k.newest + k.burst * gap - k.now) end
  local n = 1
  while n <= #k.waiting do
    local at, together = k.waiting[n], 1
    while k.waiting[n + together] == at do together = together + 1 end
    between(rule, at - permits * gap + 1 - k.now, at + together * gap - k.now)
    n = n + together
  end
end

local function spacing(k, limit, some_paced)
  local full = (limit.period + 1) / limit.permits
  if limit.period <= PACED then
    if k.rate < 1 then return math.ceil(full / k.rate) end
    return math.ceil(full * 0.9)
  end
  -- A key with long limits alone can be slowed down too, without a wait of hours.
  if k.rate < 1 and not some_paced then return math.min(math.ceil(full / k.rate), PACED) end
  return nil
end

local keys, arg, grace = {}, 7, nil
for i = 1, (#KEYS - 1) / 3 do
  local k = open_state(KEYS[3 * i - 1])
  k.past, k.ahead = KEYS[3 * i], KEYS[3 * i + 1]
  settle_due(k)
  local f = redis.call('HMGET', k.state, 'burst', 'keep', 'count', 'built', 'built_period', 'built_permits')
  k.burst, k.keep, k.count = tonumber(f[1] or 1), tonumber(f[2] or 0), tonumber(f[3] or 0)
  k.newest = tonumber(redis.call('LINDEX', k.past, 0) or nil)
  local seen_count, limits, some_paced = tonumber(ARGV[arg]), {}, false
  for n = 1, tonumber(ARGV[arg + 1]) do
    local at = arg + 2 * n
    limits[n] = { permits = tonumber(ARGV[at]), period = tonumber(ARGV[at + 1]), text = ARGV[at] .. ':' .. ARGV[at + 1] }
    some_paced = some_paced or limits[n].period <= PACED
  end
  arg = arg + 2 + 2 * #limits
  k.limits = limits
  for n, limit in ipairs(limits) do
    if can_rebuild and limit.period >= LONG then
      -- Never built, flushed, evicted, or older than what the caller has seen (an old snapshot, a replica that lagged).
      if f[4] ~= epoch[1] or tonumber(f[5] or 0) < limit.period or tonumber(f[6] or 0) < limit.permits
        or k.count < seen_count then
        return { 'rebuild', i, n, epoch[1] }
      end
    end
  end
  if k.paused > k.now then between(forbid(i, 'paused:' .. k.reason), 0, k.paused - k.now) end
  for _, limit in ipairs(limits) do
    window_rule(i, k, limit)
    local gap = spacing(k, limit, some_paced)
    if gap then
      spacing_rule(i, k, limit, gap)
      grace = math.min(grace or gap, gap)
    end
  end
  keys[i] = k
end
if epoch[2] then
  local left = tonumber(epoch[2]) - real_now
  if left <= LONGEST_WAIT then between(forbid(1, 'flushed'), 0, left) end
end

local wait, moved, limited_by = 0, true, nil
while moved do
  moved = false
  for _, rule in ipairs(rules) do
    for _, span in ipairs(rule) do
      if wait >= span[1] and wait < span[2] then
        wait, moved, limited_by = span[2], true, rule
      end
    end
  end
end
local furthest = wait > at_most and 0 or wait
for _, k in ipairs(keys) do furthest = math.max(furthest, (k.waiting[#k.waiting] or k.now) - k.now) end
if wait > at_most then return { 'wait', text(wait), limited_by.key, limited_by.why, epoch[1], text(furthest) } end

local answer = { 'go', text(wait), text(grace or 0), epoch[1], text(furthest) }
for _, k in ipairs(keys) do
  local at = k.now + wait
  if #k.limits > 0 then
    -- A count that only rises, whatever is lost: it starts at the time.
    k.count = (k.count > 0 and k.count or k.now) + permits
    for _, limit in ipairs(k.limits) do
      k.keep, k.period = math.max(k.keep, limit.permits), math.max(k.period, limit.period)
      redis.call('HSET', k.state, 'limit:' .. limit.text, text(k.now))
    end
    if wait == 0 then
      for _ = 1, permits do redis.call('LPUSH', k.past, text(at)) end
      redis.call('LTRIM', k.past, 0, k.keep - 1)
      k.burst = permits + (k.newest == at and k.burst or 0)
    else
      local later = nil
      for _, reserved in ipairs(k.waiting) do
        if reserved > at then later = reserved; break end
      end
      for _ = 1, permits do
        if later then redis.call('LINSERT', k.ahead, 'BEFORE', text(later), text(at))
        else redis.call('RPUSH', k.ahead, text(at)) end
      end
    end
    redis.call('HSET', k.state, 'seen', text(k.now), 'have', redis.call('LLEN', k.past), 'burst', k.burst,
      'keep', k.keep, 'period', text(k.period), 'count', text(k.count))
    expire(k)
  end
  answer[#answer + 1] = text(at)
  answer[#answer + 1] = text(k.count)
end
return answer
"""
)

RESERVE = Script(CLOCK + RESERVE_BODY)
