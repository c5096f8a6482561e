"""What must happen at once on a Redis server, as scripts that it runs.

The rules are not here: a caller reads, decides in Python, and sends the outcome with what
it had read. A script writes only if that still holds; else the caller begins anew. Of
several callers one always gets through.

Each takes one key, which tells a cluster where to run it, and the prefix of the store's
keys as its first argument. The prefix is in braces, so that all keys of a store lie on one
node of a cluster.
"""

from __future__ import annotations

#: data: id, data, agent ("" none), created, updated, "1" if created is to replace the old one
SAVE_SESSION = """
local p, id, data, agent, created, updated, replace = unpack(ARGV)
local key = p .. ':session:' .. id
local old = redis.call('HMGET', key, 'agent', 'created')
if old[1] and old[1] ~= '' and old[1] ~= agent then
  redis.call('ZREM', p .. ':sessions:agent:' .. old[1], id)
end
if old[2] and replace == '0' then created = old[2] end
redis.call('HSET', key, 'data', data, 'agent', agent, 'created', created, 'updated', updated)
redis.call('ZADD', p .. ':sessions:updated', updated, id)
redis.call('ZADD', p .. ':sessions:created', created, id)
if agent ~= '' then redis.call('ZADD', p .. ':sessions:agent:' .. agent, updated, id) end
"""

DELETE_SESSION = """
local p, id = unpack(ARGV)
local key = p .. ':session:' .. id
local agent = redis.call('HGET', key, 'agent')
if not agent then return 0 end
redis.call('DEL', key)
redis.call('ZREM', p .. ':sessions:updated', id)
redis.call('ZREM', p .. ':sessions:created', id)
if agent ~= '' then redis.call('ZREM', p .. ':sessions:agent:' .. agent, id) end
return 1
"""

#: key, value, expiry ("inf" never), milliseconds for the server ("0" never), now
SET_KEY = """
local p, key, value, expires, ttl, now = unpack(ARGV)
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', p .. ':keys', '-inf', now, 'LIMIT', 0, 100)) do
  redis.call('DEL', p .. ':key:' .. gone)
  redis.call('ZREM', p .. ':keys', gone)
end
redis.call('ZADD', p .. ':keys', expires, key)
if ttl == '0' then redis.call('SET', p .. ':key:' .. key, value)
else redis.call('SET', p .. ':key:' .. key, value, 'PX', ttl) end
"""

#: key, now
DELETE_KEY = """
local p, key, now = unpack(ARGV)
local expires = redis.call('ZSCORE', p .. ':keys', key)
redis.call('DEL', p .. ':key:' .. key)
redis.call('ZREM', p .. ':keys', key)
if expires and tonumber(expires) > tonumber(now) then return 1 end
return 0
"""

#: a msgpack map: heads [stream, revision, last, low, epoch, tombstone, deleted at],
#: rows [stream, seq, id,
#: bytes], drops [stream, seq]: drop what is below. Returns the last position, -1: begin anew.
COMMIT = """
local p = ARGV[1]
local request = cmsgpack.unpack(ARGV[2])
for _, head in ipairs(request.heads) do
  local revision = redis.call('HGET', p .. ':head:' .. head[1], 'revision') or '0'
  if revision ~= head[2] then return -1 end
end
local position = tonumber(redis.call('GET', p .. ':position') or '0')
for _, row in ipairs(request.rows) do
  position = position + 1
  local place = string.format('%.0f', position)
  redis.call('HSET', p .. ':log', place, row[4])
  redis.call('ZADD', p .. ':order', place, place)
  redis.call('ZADD', p .. ':stream:' .. row[1], row[2], place .. ':' .. row[3])
  redis.call('HSET', p .. ':ids:' .. row[1], row[3], row[2])
end
if #request.rows > 0 then
  redis.call('SET', p .. ':position', string.format('%.0f', position))
end
for _, drop in ipairs(request.drops) do
  local index = p .. ':stream:' .. drop[1]
  for _, member in ipairs(redis.call('ZRANGEBYSCORE', index, '-inf', '(' .. drop[2])) do
    local colon = string.find(member, ':', 1, true)
    local place = string.sub(member, 1, colon - 1)
    redis.call('HDEL', p .. ':log', place)
    redis.call('ZREM', p .. ':order', place)
    redis.call('HDEL', p .. ':ids:' .. drop[1], string.sub(member, colon + 1))
    redis.call('ZREM', index, member)
  end
end
for _, head in ipairs(request.heads) do
  local key = p .. ':head:' .. head[1]
  redis.call('HSET', key, 'last', head[3], 'low', head[4], 'epoch', head[5],
    'tombstone', head[6],
    'deleted_at', head[7])
  redis.call('HINCRBY', key, 'revision', 1)
  if redis.call('EXISTS', p .. ':stream:' .. head[1]) == 1 then
    redis.call('SADD', p .. ':streams', head[1])
  else
    redis.call('SREM', p .. ':streams', head[1])
  end
end
return position
"""

#: stream, seq, bytes
SAVE_SNAPSHOT = """
local p, stream, seq, state = unpack(ARGV)
redis.call('HSET', p .. ':states:' .. stream, seq, state)
redis.call('ZADD', p .. ':snapshots:' .. stream, seq, seq)
redis.call('SADD', p .. ':snapshot-streams', stream)
"""

#: stream, highest seq; returns seq and bytes
LOAD_SNAPSHOT = """
local p, stream, highest = unpack(ARGV)
local found = redis.call(
  'ZREVRANGEBYSCORE', p .. ':snapshots:' .. stream, highest, '-inf', 'LIMIT', 0, 1)
if #found == 0 then return false end
return {found[1], redis.call('HGET', p .. ':states:' .. stream, found[1])}
"""

#: stream, lowest seq, highest seq
DELETE_SNAPSHOTS = """
local p, stream, lowest, highest = unpack(ARGV)
local index = p .. ':snapshots:' .. stream
local found = redis.call('ZRANGEBYSCORE', index, lowest, highest)
for _, seq in ipairs(found) do
  redis.call('HDEL', p .. ':states:' .. stream, seq)
  redis.call('ZREM', index, seq)
end
if redis.call('EXISTS', index) == 0 then redis.call('SREM', p .. ':snapshot-streams', stream) end
return #found
"""

#: the number the effects were made for, a msgpack array of [channel, key, stream or false,
#: due, bytes, number]; returns 0 when another effect has come in between: begin anew.
ADD_EFFECTS = """
local p, expected = ARGV[1], ARGV[2]
local last = redis.call('GET', p .. ':effect') or '0'
if last ~= expected then return 0 end
for _, effect in ipairs(cmsgpack.unpack(ARGV[3])) do
  local channel, key, stream, due, bytes, number = unpack(effect)
  redis.call('HSET', p .. ':effects', number, bytes)
  redis.call('HSET', p .. ':effect-keys:' .. channel, key, number)
  redis.call('ZADD', p .. ':due:' .. channel, due, number)
  if stream then redis.call('ZADD', p .. ':effects-of:' .. stream, number, number) end
  redis.call('SET', p .. ':effect', string.format('%d', tonumber(number)))
end
return 1
"""

#: number, bytes as read, bytes to write, channel, due ("" never); returns 0: begin anew.
CHANGE_EFFECT = """
local p, number, before, after, channel, due = unpack(ARGV)
if redis.call('HGET', p .. ':effects', number) ~= before then return 0 end
redis.call('HSET', p .. ':effects', number, after)
if due == '' then redis.call('ZREM', p .. ':due:' .. channel, number)
else redis.call('ZADD', p .. ':due:' .. channel, due, number) end
return 1
"""
