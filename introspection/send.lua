-- send.lua - sends a file without copying it, in Lua
--
-- SPDX-FileCopyrightText: The zcio authors
-- SPDX-License-Identifier: LGPL-2.1-or-later
--
-- usage: lua5.3 send.lua HOST PORT FILE

local lgi = require 'lgi'
local Gio, GLib, Zcio = lgi.Gio, lgi.GLib, lgi.require ('Zcio', '1')

local BLOCK = 1024 * 1024

local function send (host, port, path)
  local data = assert (GLib.MappedFile.new (path, false)):get_bytes ()
  local size = data:get_size ()
  local connection = assert (Gio.SocketClient ():connect_to_host (host, port))
  local stream = Zcio.SocketStream.new (connection:get_socket ())

  stream.on_completed = function (_, _, bytes, zero_copied)
    io.stderr:write (('released %d bytes, %s\n'):format (
      bytes, zero_copied and 'without a copy' or 'copied by the kernel'))
  end
  for at = 0, size - 1, BLOCK do
    local block = GLib.Bytes.new_from_bytes (data, at, math.min (BLOCK, size - at))
    -- This returns how many bytes were accepted, or false and an error
    assert (stream:async_writev_zerocopy ({ block }))
  end
  assert (stream:async_drain (0))
  print (stream:get_statistics ():to_string ())
  assert (stream:close ())
  assert (connection:close ())
end

if #arg ~= 3 then
  io.stderr:write ('usage: lua5.3 send.lua HOST PORT FILE\n')
  os.exit (2)
end
-- An error may not leave the coroutine
local ok, message = Gio.Async.call (pcall) (send, arg[1], tonumber (arg[2]), arg[3])
if not ok then
  io.stderr:write (tostring (message), '\n')
  os.exit (1)
end
