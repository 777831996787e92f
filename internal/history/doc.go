// Package history keeps the latest publications of topics in the memory of the primary: of each topic as many and as
// long as its rule says, and of all together as many as fit. Store is the broker.History of a machine that is alone.
//
//	broker.Hub: Publish ──► Append: place = epoch, offset ──► every worker
//	            Recall  ──► Read: a page                  ──► the worker that has asked
//
// A topic has an epoch, a random number, from the first time that somebody publishes or asks. When the topic is
// forgotten, so is its epoch: a question with a place of an epoch that is not known, or of a publication that is no
// longer kept, is answered with Lost.
//
// A primary that replaces its program passes the Store on with WriteState and ReadState.
package history
