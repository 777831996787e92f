package redisplane

import "github.com/expedite-go/expedite/internal/redisconn"

// The keys of a topic with members are two hashes, and a set for each attendance:
//
//	members   by ID: the number of attendances that have the member, a space, its info
//	own       the IDs of the members of an attendance
//	meta      e the epoch, s the number of announcements, m Change.Max, p Change.Prefix
//
// They are in the slot of the topic's channel. Beside them, each server or cluster has a sorted set with the time at
// which the lease of each attendance ends, in ms, and for each attendance a set of the topics that it may have members
// in.

// presenceScripts are the programs for members.
type presenceScripts struct {
	change, clear, members, lease, lapsed, end redisconn.Script
}

func newPresenceScripts() presenceScripts {
	return presenceScripts{
		change:  redisconn.NewScript(memberText + changeText),
		clear:   redisconn.NewScript(memberText + clearText),
		members: redisconn.NewScript(membersText), lease: redisconn.NewScript(leaseText),
		lapsed: redisconn.NewScript(lapsedText),
		end:    redisconn.NewScript(endText),
	}
}

// memberText has what the programs that change members share. Their keys are members, own and meta; their last
// arguments the command and the channel to publish.
const memberText = `
local call, members, own, meta = redis.call, KEYS[1], KEYS[2], KEYS[3]
local publish, channel = ARGV[#ARGV - 1], ARGV[#ARGV]
local epoch, said, max, prefix = unpack(call('HMGET', meta, 'e', 's', 'm', 'p'))
said, max, prefix = tonumber(said or 0), tonumber(max or -1), prefix or ''
local count = call('HLEN', members)
local function tell(kind, id, info)
  if count <= max or kind == 'j' and count == max + 1 then
    said = said + 1
    call(publish, channel, prefix .. epoch .. ' ' .. string.format('%.0f', said) .. ' ' .. count .. ' ' ..
      kind .. #id .. ' ' .. id .. info)
  end
end
local function leave(id)
  local known = call('HGET', members, id)
  if not known then return end
  local at = string.find(known, ' ', 1, true)
  local n = tonumber(string.sub(known, 1, at - 1))
  if n > 1 then
    call('HSET', members, id, (n - 1) .. string.sub(known, at))
    return
  end
  call('HDEL', members, id)
  count = count - 1
  tell('l', id, '')
end
local function finish()
  call('HSET', meta, 's', string.format('%.0f', said))
  if count == 0 then call('PEXPIRE', meta, 86400000) else call('PERSIST', meta) end
  return {epoch, string.format('%.0f', said), count, call('SCARD', own)}
end
`

// changeText takes: a new epoch, the known epoch, the known number of announcements, max, prefix, the number of members
// that follow, for each a (Add), r (Restore) or k (Keep), ID, info; the IDs to remove. It returns epoch, number of
// announcements, number of members, and that of the attendance.
const changeText = `
local knows = ARGV[2]
if not epoch or epoch == knows and said < tonumber(ARGV[3]) then epoch, said = ARGV[1], 0 end
max, prefix = tonumber(ARGV[4]), ARGV[5]
call('HSET', meta, 'e', epoch, 'm', max, 'p', prefix)
local lost = epoch ~= knows
local only = lost and knows ~= '0'
local adds = tonumber(ARGV[6])
for i = 7, 6 + 3 * adds, 3 do
  local kind, id, info = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  if (kind == 'r' or kind == 'a' and not only or kind == 'k' and lost) and call('SADD', own, id) == 1 then
    local known = call('HGET', members, id)
    if known then
      local n = tonumber(string.sub(known, 1, string.find(known, ' ', 1, true) - 1))
      call('HSET', members, id, (n + 1) .. ' ' .. info)
    else
      call('HSET', members, id, '1 ' .. info)
      count = count + 1
      if kind == 'a' or not lost then tell('j', id, info) end
    end
  end
end
for i = 7 + 3 * adds, only and 0 or #ARGV - 2 do
  if call('SREM', own, ARGV[i]) == 1 then leave(ARGV[i]) end
end
return finish()
`

// clearText takes the number of members to remove from an attendance that ends. It returns what changeText does.
const clearText = `
if not epoch then epoch = '1' end
for _, id in ipairs(call('SPOP', own, ARGV[1])) do leave(id) end
return finish()
`

// membersText takes the largest number of members to list. It returns the number of members, and their IDs and values.
const membersText = `
local n = redis.call('HLEN', KEYS[1])
if n > tonumber(ARGV[1]) then return {n} end
local list = redis.call('HGETALL', KEYS[1])
table.insert(list, 1, n)
return list
`

// leaseText takes an attendance, its lease in ms, and 1 if it must live already. It returns whether it lives.
const leaseText = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if ARGV[3] == '1' then
  local ends = redis.call('ZSCORE', KEYS[1], ARGV[1])
  if not ends or tonumber(ends) <= now then return 0 end
end
redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), ARGV[1])
return 1
`

// lapsedText returns up to 16 attendances whose lease has run out.
const lapsedText = `
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
return redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, 16)
`

// endText forgets an attendance.
const endText = `return redis.call('ZREM', KEYS[1], ARGV[1])`
