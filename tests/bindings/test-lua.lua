-- test-lua.lua - sending, completions and errors in Lua
--
-- SPDX-FileCopyrightText: The zcio authors
-- SPDX-License-Identifier: LGPL-2.1-or-later

local lgi = require 'lgi'
local Gio, GLib, Zcio = lgi.Gio, lgi.GLib, lgi.require ('Zcio', '1')

local MIB = 1024 * 1024

local function make_pattern ()
  local bytes = {}
  for i = 0, 255 do
    bytes[i + 1] = string.char (i * 7 % 256)
  end
  return table.concat (bytes):rep (MIB / 256)
end

local TEXT = make_pattern ()
local PATTERN = GLib.Bytes.new (TEXT)

local Receiver = {}
Receiver.__index = Receiver

function Receiver.new (...)
  local self = setmetatable ({}, Receiver)
  self.process = assert (Gio.Subprocess.new (
    { os.getenv ('ZCIO_PYTHON'), os.getenv ('ZCIO_RECEIVER'), ... },
    { 'STDIN_PIPE', 'STDOUT_PIPE' }))
  self.output = Gio.DataInputStream.new (self.process:get_stdout_pipe ())
  self.port = tonumber (self:line ())
  return self
end

function Receiver:line ()
  return tostring (assert (self.output:read_line_utf8 ()))
end

function Receiver:stream ()
  local socket = assert (Gio.Socket.new ('IPV4', 'STREAM', 'TCP'))
  assert (socket:connect (Gio.InetSocketAddress.new_from_string ('127.0.0.1', self.port)))
  local stream = Zcio.SocketStream.new (socket)
  stream.zero_copy_mode = 'ALWAYS'
  return stream
end

function Receiver:tell (word)
  assert (self.process:get_stdin_pipe ():write (word .. '\n'))
end

local function expected (n)
  local checksum = GLib.Checksum.new ('SHA256')
  for _ = 1, n do
    checksum:update (TEXT)
  end
  return ('%d %s'):format (n * #TEXT, checksum:get_string ())
end

local function close (stream)
  assert (stream:close ())
  assert (stream:get_socket ():close ())
end

local function wait_until (condition)
  local context = GLib.MainContext.default ()
  local deadline = GLib.get_monotonic_time () + 60000000
  local timer = GLib.timeout_add (GLib.PRIORITY_DEFAULT, 100, function () return true end)
  while not condition () do
    assert (GLib.get_monotonic_time () < deadline, 'waited in vain')
    context:iteration (true)
  end
  GLib.source_remove (timer)
end

local function assert_error (code, ok, error)
  assert (not ok, 'it fails')
  assert (error:matches (Gio.IOErrorEnum, code), tostring (error))
end

local function send_five_times (stream)
  for _ = 1, 5 do
    assert (stream:write_zerocopy (PATTERN))
  end
end

local tests = {
  { 'transfer', function ()
    local receiver = Receiver.new ()
    local stream = receiver:stream ()
    assert (stream:writev_zerocopy ({ PATTERN, PATTERN }) == 2 * MIB)
    assert (stream:drain (0))
    local statistics = stream:get_statistics ()
    assert (statistics.bytes_written == 2 * MIB)
    assert (statistics.bytes_copied_by_choice == 0)
    assert (statistics.bytes_in_flight == 0)
    close (stream)
    assert (receiver:line () == expected (2))
  end },

  { 'asynchronous', function ()
    local receiver = Receiver.new ()
    local stream = receiver:stream ()
    Gio.Async.call (function ()
      for _ = 1, 20 do
        assert (stream:async_writev_zerocopy ({ PATTERN }))
      end
      assert (stream:async_drain (0))
      assert (stream:async_close ())
    end) ()
    assert (stream.sends_in_flight == 0)
    assert (stream:get_socket ():close ())
    assert (receiver:line () == expected (20))
  end },

  { 'completions by signal', function ()
    local receiver = Receiver.new ()
    local stream = receiver:stream ()
    local sum = 0
    stream.on_completed = function (self, sends, bytes)
      assert (self == stream and sends > 0)
      sum = sum + bytes
    end
    send_five_times (stream)
    wait_until (function () return sum == 5 * MIB end)
    close (stream)
    assert (receiver:line () == expected (5))
  end },

  { 'completions by watch', function ()
    local receiver = Receiver.new ()
    local stream = receiver:stream ()
    local sum = 0
    local id = stream:add_completion_watch (GLib.PRIORITY_DEFAULT, function (self, sends, bytes)
      assert (self == stream and sends > 0)
      sum = sum + bytes
      return true
    end)
    send_five_times (stream)
    wait_until (function () return sum == 5 * MIB end)
    assert (GLib.source_remove (id))
    close (stream)
    assert (receiver:line () == expected (5))
  end },

  { 'error: closed', function ()
    local stream = Receiver.new ():stream ()
    assert (stream:close ())
    assert_error ('CLOSED', stream:write_zerocopy (PATTERN))
  end },

  { 'error: reset', function ()
    local receiver = Receiver.new ('--paused')
    local stream = receiver:stream ()
    assert (stream:write_zerocopy (GLib.Bytes.new ('x')))
    receiver:tell ('reset')
    assert (receiver:line () == 'reset')
    local ok, error
    repeat
      ok, error = stream:write_zerocopy (PATTERN)
    until not ok
    assert (error:matches (Gio.IOErrorEnum, 'CONNECTION_CLOSED') or
            error:matches (Gio.IOErrorEnum, 'BROKEN_PIPE'), tostring (error))
  end },

  { 'cancelled', function ()
    local receiver = Receiver.new ('--paused')
    local stream = receiver:stream ()
    local cancellable = Gio.Cancellable.new ()
    local buffers = {}
    for i = 1, 64 do
      buffers[i] = PATTERN
    end
    local result
    stream:writev_zerocopy_async (buffers, GLib.PRIORITY_DEFAULT, cancellable,
                                  function (_, r) result = r end)
    wait_until (function () return stream.bytes_in_flight > 0 end)
    cancellable:cancel ()
    wait_until (function () return result end)
    assert_error ('CANCELLED', stream:writev_zerocopy_finish (result))
    assert_error ('CANCELLED', stream:drain (0, cancellable))
    receiver:tell ('read')
    assert (stream:drain (0))
    assert (stream.bytes_in_flight == 0)
  end },

  { 'bad input', function ()
    local stream = Receiver.new ():stream ()
    for _, call in ipairs {
      function () return stream:write_zerocopy (nil) end,
      function () return stream:write_zerocopy (5) end,
      function () return stream:writev_zerocopy (nil) end,
      function () return stream:writev_zerocopy ('text') end,
      function () return stream:writev_zerocopy ({ 5 }) end,
      function () return stream:writev_zerocopy ({ stream }) end,
      function () return stream:drain ('text') end,
      function () return Zcio.SocketStream.new (nil) end,
      function () return Zcio.SocketStream.new (5) end,
    } do
      assert (not pcall (call))
    end
    assert (stream:writev_zerocopy ({}) == 0)
  end },

  { 'buffers of a pool', function ()
    local receiver = Receiver.new ()
    local stream = receiver:stream ()
    local buffer = assert (Zcio.BufferPool.new (MIB):acquire ())
    buffer:set_contents (0, TEXT)
    assert (stream:write_zerocopy (buffer:to_bytes (MIB)))
    close (stream)
    assert (receiver:line () == expected (1))
  end },
}

local failed = false
print (('1..%d'):format (#tests))
for number, test in ipairs (tests) do
  local ok, message = xpcall (test[2], debug.traceback)
  if not ok then
    print ('# ' .. tostring (message):gsub ('\n', '\n# '))
    failed = true
  end
  print (('%s %d %s'):format (ok and 'ok' or 'not ok', number, test[1]))
end
os.exit (failed and 1 or 0)
