package redisfeed

import "context"

// Wait blocks until the first attempt to connect has ended.
func (f *Feed) Wait(ctx context.Context) { f.conn.Wait(ctx) }
