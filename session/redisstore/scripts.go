package redisstore

import "github.com/expedite-go/expedite/internal/redisconn"

// A session is a hash with the fields u (user), p (parameters), c (created), s (seen), t (TTL in ms), n (node),
// k (connection, "0" means none), and the values, whose names have the prefix v. The list of a user's sessions is a
// sorted set of their ids by the time of their creation. All keys of a user share a hash tag: scripts may therefore use
// keys that they have found in the list. Times are microseconds of the clock of Redis, so that all machines agree.
//
// A server that has no memory left refuses the first write of a script if it needs memory, and allows all writes of the
// script otherwise. Scripts that create a session therefore begin with a write that needs memory: they do everything or
// nothing. Scripts that keep a session call keep first, whose first write needs none. keep also adds the session to the
// list again, which may have been evicted, and makes the list live longer than all sessions in it.

// scripts are the scripts of a store.
type scripts struct{ attach, claim, detach, touch, restore, save, list, drop redisconn.Script }

func newScripts() scripts {
	script := func(text string) redisconn.Script { return redisconn.NewScript(scriptCommon + text) }
	return scripts{
		script(scriptAttach), script(scriptClaim), script(scriptDetach), script(scriptTouch),
		script(scriptRestore), script(scriptSave), script(scriptList), script(scriptDrop),
	}
}

// scriptCommon begins each script. KEYS[1] is a session.
const scriptCommon = `
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
local function str(n) return string.format('%.0f', n) end
local function fields(key)
  local f = redis.call('HMGET', key, 'u', 'p', 'c', 's', 't', 'n', 'k')
  if f[3] then return f end
end
local function keep(key, list, id, created, ttl)
  redis.call('PEXPIRE', key, ttl)
  if list == '' then return end
  redis.call('ZADD', list, created, id)
  if redis.call('PTTL', list) < tonumber(ttl) then redis.call('PEXPIRE', list, str(2 * ttl)) end
end
local function empty(key) return redis.call('HLEN', key) <= 7 end
local function values(key, first)
  local count, bytes = 0, 0
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'v' then count = count + 1; bytes = bytes + #all[i] - 1 + #all[i + 1] end
  end
  for i = first, #ARGV, 3 do
    local field = 'v' .. ARGV[i]
    local old = redis.call('HGET', key, field)
    if old then count = count - 1; bytes = bytes - #ARGV[i] - #old end
    if ARGV[i + 1] == '1' then count = count + 1; bytes = bytes + #ARGV[i] + #ARGV[i + 2] end
  end
  return count, bytes
end
local function change(key, first)
  for i = first, #ARGV, 3 do
    if ARGV[i + 1] == '1' then redis.call('HSET', key, 'v' .. ARGV[i], ARGV[i + 2])
    else redis.call('HDEL', key, 'v' .. ARGV[i]) end
  end
end
`

// scriptLimit follows scriptCommon in scripts that limit the sessions of a user. victims returns the other live
// sessions of the user, in the order in which they are deleted; how many of them must be deleted; and the ids in the
// list whose sessions do not exist.
const scriptLimit = `
local function victims(prefix, list, stays, most, refuse, stale)
  local live, gone = {}, {}
  for _, id in ipairs(redis.call('ZRANGE', list, 0, -1)) do
    local f = fields(prefix .. id)
    if not f then gone[#gone + 1] = id
    elseif id ~= stays then
      local away = f[7] == '0' or (refuse and stale > 0 and tonumber(f[4]) + stale <= now)
      live[#live + 1] = {id = id, f = f, away = away, at = tonumber(away and f[4] or f[3]), n = #live}
    end
  end
  table.sort(live, function(a, b)
    if a.away ~= b.away then return a.away end
    if a.at ~= b.at then return a.at < b.at end
    return a.n < b.n
  end)
  return live, #live - most + 1, gone
end
`

// scriptAttach has KEYS: session to resume, session to create, list. ARGV: prefix of sessions, user, id to resume (or
// empty), id to create (or empty), parameters, whether they are set, node, connection, TTL (ms), MaxPerUser, Refuse,
// Stale (µs). It returns 0 (not found), 1 (too many sessions), or: id, whether it is resumed, session, whether it is
// pending.
const scriptAttach = scriptLimit + `
local prefix, user, wanted, fresh = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local list = user ~= '' and KEYS[3] or ''
local ttl, most, refuse = ARGV[9], tonumber(ARGV[10]), ARGV[11] == '1'
if wanted ~= '' then
  local f = fields(KEYS[1])
  if f and f[1] == user then
    if f[7] ~= '0' and (f[7] ~= ARGV[8] or f[6] ~= ARGV[7]) then return {wanted, '1', f, '1'} end
    keep(KEYS[1], list, wanted, f[3], ttl)
    redis.call('HSET', KEYS[1], 's', str(now), 't', ttl, 'n', ARGV[7], 'k', ARGV[8])
    if ARGV[6] == '1' then redis.call('HSET', KEYS[1], 'p', ARGV[5]) end
    return {wanted, '1', fields(KEYS[1]), '0'}
  end
end
if fresh == '' then return 0 end
local pending, gone = '0', {}
if list ~= '' and most > 0 then
  local live, need
  live, need, gone = victims(prefix, list, '', most, refuse, tonumber(ARGV[12]))
  if need > 0 then
    if refuse and not live[need].away then return 1 end
    pending = '1'
  end
elseif list ~= '' then
  -- A random sample, so that every part of a long list is cleaned up at some time.
  for _, id in ipairs(redis.call('ZRANDMEMBER', list, 3)) do
    if redis.call('EXISTS', prefix .. id) == 0 then gone[#gone + 1] = id end
  end
end
redis.call('HSET', KEYS[2], 'u', user, 'p', ARGV[5], 'c', str(now), 's', str(now), 't', ttl, 'n', ARGV[7], 'k', ARGV[8])
keep(KEYS[2], list, fresh, str(now), ttl)
for _, id in ipairs(gone) do redis.call('ZREM', list, id) end
return {fresh, '0', fields(KEYS[2]), pending}
`

// scriptClaim has KEYS: session, list. ARGV: prefix of sessions, user, id, parameters, whether they are set, node,
// connection, TTL (ms), MaxPerUser, Refuse, Stale (µs), MaxBatch. It returns 0 (not found), or: id, session, whether
// more sessions must be deleted, the node and the connection that it replaces, deleted sessions.
const scriptClaim = scriptLimit + `
local prefix, list, ttl, most = ARGV[1], ARGV[2] ~= '' and KEYS[2] or '', ARGV[8], tonumber(ARGV[9])
local f = fields(KEYS[1])
if not f or f[1] ~= ARGV[2] then return 0 end
keep(KEYS[1], list, ARGV[3], f[3], ttl)
redis.call('HSET', KEYS[1], 's', str(now), 't', ttl, 'n', ARGV[6], 'k', ARGV[7])
if ARGV[5] == '1' then redis.call('HSET', KEYS[1], 'p', ARGV[4]) end
local evicted, more = {}, '0'
if list ~= '' and most > 0 then
  local refuse = ARGV[10] == '1'
  local live, need, gone = victims(prefix, list, ARGV[3], most, refuse, tonumber(ARGV[11]))
  for _, id in ipairs(gone) do redis.call('ZREM', list, id) end
  for i = 1, need do
    if refuse and not live[i].away then break end
    if i > tonumber(ARGV[12]) then more = '1' break end
    redis.call('DEL', prefix .. live[i].id)
    redis.call('ZREM', list, live[i].id)
    evicted[i] = {live[i].id, live[i].f}
  end
end
return {ARGV[3], fields(KEYS[1]), more, f[6], f[7], evicted}
`

// scriptDetach has KEYS: session. ARGV: connection, prefix of lists, id, EmptyTTL (ms), whether a session without
// values is deleted.
const scriptDetach = `
local f = fields(KEYS[1])
if not f or f[7] ~= ARGV[1] or ARGV[1] == '0' then return 0 end
local list, bare = f[1] ~= '' and ARGV[2] .. f[1] or '', empty(KEYS[1])
if bare and ARGV[5] == '1' then
  redis.call('DEL', KEYS[1])
  if list ~= '' then redis.call('ZREM', list, ARGV[3]) end
  return 0
end
keep(KEYS[1], list, ARGV[3], f[3], f[5])
redis.call('HSET', KEYS[1], 'n', '', 'k', '0', 's', str(now))
local ttl = tonumber(ARGV[4])
if bare and list == '' and ttl > 0 and ttl < tonumber(f[5]) then redis.call('PEXPIRE', KEYS[1], ttl) end
return 0
`

// scriptTouch has KEYS: session. ARGV: prefix of lists, id. It returns 1, or 0 (not found).
const scriptTouch = `
local f = fields(KEYS[1])
if not f then return 0 end
keep(KEYS[1], f[1] ~= '' and ARGV[1] .. f[1] or '', ARGV[2], f[3], f[5])
redis.call('HSET', KEYS[1], 's', str(now))
return 1
`

// scriptRestore has KEYS: session, list. ARGV: id, user, parameters, created, TTL, node, connection, MaxValues,
// MaxValueBytes, values. It returns 1, 0 (superseded), or 2 (too large).
const scriptRestore = `
local f = fields(KEYS[1])
if f and (f[1] ~= ARGV[2] or (f[7] ~= '0' and (f[7] ~= ARGV[7] or f[6] ~= ARGV[6]))) then return 0 end
local count, bytes = values(KEYS[1], 10)
if count > tonumber(ARGV[8]) or bytes > tonumber(ARGV[9]) then return 2 end
local list = ARGV[2] ~= '' and KEYS[2] or ''
local created = f and f[3] or ARGV[4]
redis.call('HSET', KEYS[1], 'u', ARGV[2], 'c', created, 's', str(now), 't', ARGV[5], 'n', ARGV[6], 'k', ARGV[7])
if not f then redis.call('HSET', KEYS[1], 'p', ARGV[3]) end
change(KEYS[1], 10)
keep(KEYS[1], list, ARGV[1], created, ARGV[5])
return 1
`

// scriptSave has KEYS: session. ARGV: MaxValues, MaxValueBytes, values. It returns 1, 0 (not found), or 2 (too large).
const scriptSave = `
local f = fields(KEYS[1])
if not f then return 0 end
local count, bytes = values(KEYS[1], 3)
if count > tonumber(ARGV[1]) or bytes > tonumber(ARGV[2]) then return 2 end
change(KEYS[1], 3)
if f[1] == '' and f[7] == '0' and not empty(KEYS[1]) then redis.call('PEXPIRE', KEYS[1], f[5]) end
return 1
`

// scriptList has KEYS: list. ARGV: prefix of sessions, limit, whether it is the first page, the time of creation and
// the id of the last session of the previous page. It returns pairs of ids and sessions, the newest first.
const scriptList = `
local found, all = {}, ARGV[3] == '1'
for _, id in ipairs(redis.call('ZREVRANGEBYSCORE', KEYS[1], all and '+inf' or ARGV[4], '-inf')) do
  if #found >= tonumber(ARGV[2]) then break end
  local f = fields(ARGV[1] .. id)
  if not f then redis.call('ZREM', KEYS[1], id)
  elseif all or f[3] ~= ARGV[4] or id < ARGV[5] then found[#found + 1] = {id, f} end
end
return found
`

// scriptDrop has KEYS: session. ARGV: id, prefix of lists. It returns the deleted session, or 0 (not found).
const scriptDrop = `
local f = fields(KEYS[1])
if not f then return 0 end
redis.call('DEL', KEYS[1])
if f[1] ~= '' then redis.call('ZREM', ARGV[2] .. f[1], ARGV[1]) end
return f
`
