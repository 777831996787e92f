package redisplane

import (
	"crypto/sha1"
	"encoding/hex"

	"github.com/redis/rueidis"
)

// The keys of a topic with a history are a stream, whose ids are offsets and times ("17-1764436739000"), and a hash:
//
//	e  the epoch; missing if there is no history
//	o  the offset of the latest message
//	b  the offset of the latest message when the epoch began; missing means 0
//	x  when the expiry of both keys was set, in ms
//	p… the latest number of a publisher
//	q… the offset of that message
//
// A message on the channel of the topic is a zero byte, the epoch, a space, the offset, a space, and the payload. The
// stream expires one to two retentions after its latest message, and the hash a day later.

// script is a Lua program that runs in Redis.
type script struct{ text, hash string }

func newScript(text string) *script {
	sum := sha1.Sum([]byte(text)) // Redis identifies scripts by it
	return &script{text, hex.EncodeToString(sum[:])}
}

// command returns a call of the script, with its text or with its hash.
func (s *script) command(b rueidis.Builder, whole bool, keys [2]string, args ...string) rueidis.Completed {
	if whole {
		return b.Eval().Script(s.text).Numkeys(2).Key(keys[0], keys[1]).Arg(args...).Build()
	}
	return b.Evalsha().Sha1(s.hash).Numkeys(2).Key(keys[0], keys[1]).Arg(args...).Build()
}

// notInOrder is the beginning of the error of a message whose predecessor was not taken.
const notInOrder = "EXPEDITE order"

// scripts are the programs. Each has the stream and the hash as its keys.
type scripts struct{ append, read, renew, verify *script }

func newScripts() *scripts {
	return &scripts{
		append: newScript(appendText), read: newScript(readText), renew: newScript(renewText), verify: newScript(verifyText),
	}
}

// appendText takes: publisher, number, number of the message before that must have been taken (or 0), payload, epoch if
// there is none, messages and ms to keep, command and channel to publish. It returns the epoch, a space, and the
// offset, which is 0 if it is not known. Each command takes Redis half a microsecond or more, and so does each number
// that becomes a text.
const appendText = `
local call, stream, hash, payload, publisher = redis.call, KEYS[1], KEYS[2], ARGV[4], 'p' .. ARGV[1]
local epoch, offset, since, last = unpack(call('HMGET', hash, 'e', 'o', 'x', publisher))
local known, number = last, ARGV[2] + 0
last = last and last + 0 or 0
if epoch and number <= last then
  return epoch .. ' ' .. (number == last and call('HGET', hash, 'q' .. ARGV[1]) or '0')
end
if last < ARGV[3] + 0 then return redis.error_reply('` + notInOrder + `') end
local time = call('TIME')
local now = time[1] .. string.format('%03d', time[2] / 1000)
if not epoch then
  call('DEL', stream, hash)
  epoch, offset, since = ARGV[5], 0, false
end
offset = string.format('%.0f', offset + 1)
call('XADD', stream, 'MAXLEN', '~', ARGV[6], offset .. '-' .. now, 'm', payload)
call('HSET', hash, 'o', offset, publisher, ARGV[2], 'q' .. ARGV[1], offset)
local keep = ARGV[7] + 0
local age = since and now - since or keep
if age < 0 or age >= math.min(keep / 2, 3600000) then
  call('HSET', hash, 'e', epoch, 'x', now) -- at the first message, too
  call('PEXPIRE', stream, 2 * keep)
  call('PEXPIRE', hash, 2 * keep + 90000000)
end
if not known and call('HLEN', hash) > 520 then
  local all, list = call('HGETALL', hash), {}
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 1) == 'q' then list[#list + 1] = {all[i + 1] + 0, string.sub(all[i], 2)} end
  end
  table.sort(list, function(a, b) return a[1] < b[1] end)
  for i = 1, #list - 205 do call('HDEL', hash, 'p' .. list[i][2], 'q' .. list[i][2]) end
end
local place = epoch .. ' ' .. offset
call(ARGV[8], ARGV[9], '\0' .. place .. ' ' .. payload)
return place
`

// readText takes: the offset before the first message, or the negative number of the newest ones; messages and bytes of
// the page, epoch if there is none, messages and ms that are kept. It returns epoch, begin, head, and for each message
// its offset and payload. The epoch is 0 if there is none and the server takes none.
const readText = `
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'b')
local keep = tonumber(ARGV[6])
if not meta[1] then
  local set = redis.pcall('HSET', KEYS[2], 'e', ARGV[4], 'o', 0)
  if type(set) == 'table' and set.err then return {'0', 0, 0} end
  redis.call('PEXPIRE', KEYS[2], 2 * keep + 90000000)
  redis.call('DEL', KEYS[1])
  return {ARGV[4], 0, 0}
end
local head, after = tonumber(meta[2]), tonumber(ARGV[1])
if after < 0 then after = head + after end
after = math.max(after, head - tonumber(ARGV[5]), 0)
local time = redis.call('TIME')
local oldest = time[1] * 1000 + math.floor(time[2] / 1000) - keep
local most, room = tonumber(ARGV[2]), tonumber(ARGV[3])
local high = head
while after < high do -- skip what is too old: there may be a million
  local middle = math.floor((after + high) / 2)
  local one = redis.call('XRANGE', KEYS[1], string.format('%.0f', middle + 1), '+', 'COUNT', 1)[1]
  local cut = one and string.find(one[1], '-', 1, true)
  if one and tonumber(string.sub(one[1], cut + 1)) < oldest then
    after = tonumber(string.sub(one[1], 1, cut - 1))
  else
    high = middle
  end
end
local page, count, step = {meta[1], tonumber(meta[3] or 0), head}, 0, 1
while count < most and after < head do
  local list = redis.call('XRANGE', KEYS[1], string.format('%.0f', after + 1), '+', 'COUNT', step)
  for i = 1, #list do
    local id, payload = list[i][1], list[i][2][2]
    local cut = string.find(id, '-', 1, true)
    after = tonumber(string.sub(id, 1, cut - 1))
    if tonumber(string.sub(id, cut + 1)) >= oldest then
      room = room - #payload
      if count > 0 and (room < 0 or count >= most) then return page end
      page[#page + 1] = after
      page[#page + 1] = payload
      count = count + 1
    end
  end
  if #list < step then break end
  step = math.min(2 * step, 128)
end
return page
`

// renewText takes: the epoch that ends, the next one, and ms to keep. It returns epoch, begin, head.
const renewText = `
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'b')
if not meta[1] then return {'0', 0, 0} end
local head = tonumber(meta[2])
if meta[1] ~= ARGV[1] then return {meta[1], tonumber(meta[3] or 0), head} end
redis.call('HSET', KEYS[2], 'e', ARGV[2], 'b', head)
return {ARGV[2], head, head}
`

// verifyText takes: the epoch that a publisher knows, and the next one; the publisher, the number of a message that was
// taken, and its offset. It ends the epoch if that message is lost, and returns the epoch of now. A publisher that is
// not known was lost as well, unless there are so many that it may have been forgotten.
const verifyText = `
local meta = redis.call('HMGET', KEYS[2], 'e', 'o', 'p' .. ARGV[3], 'q' .. ARGV[3])
if meta[1] ~= ARGV[1] then return meta[1] or '0' end
local head, number, at, offset = tonumber(meta[2]), tonumber(meta[3]), tonumber(meta[4]), tonumber(ARGV[5])
local lost
if number and at then
  lost = at < offset or at == offset and number > tonumber(ARGV[4])
else
  lost = head < offset or redis.call('HLEN', KEYS[2]) < 400
end
if not lost then return meta[1] end
redis.call('HSET', KEYS[2], 'e', ARGV[2], 'b', head)
return ARGV[2]
`
