/* Zcio-1-custom.vala - what Vala needs beside what the GIR tells
 *
 * SPDX-FileCopyrightText: The zcio authors
 * SPDX-License-Identifier: LGPL-2.1-or-later
 */

namespace Zcio {
	[CCode (cheader_filename = "zcio/zcio.h", cname = "GSource", ref_function = "g_source_ref", unref_function = "g_source_unref")]
	[Version (since = "1.0")]
	public class CompletionSource : GLib.Source {
		[CCode (cname = "zcio_socket_stream_create_completion_source")]
		public CompletionSource (Zcio.SocketStream stream, GLib.Cancellable? cancellable = null);
		[CCode (cname = "g_source_set_callback")]
		public void set_callback ([CCode (type = "GSourceFunc")] owned Zcio.CompletionFunc func);
	}
}
