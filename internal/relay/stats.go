package relay

import "github.com/expedite-go/expedite/backplane"

// Stats counts what happens between machines. Counters only grow.
type Stats struct {
	// Topics is the number of topics that this machine subscribes to.
	Topics int
	// Sent counts publications and directed messages to other machines, Refused those that the backplane did not take.
	Sent, Refused uint64
	// Heard counts publications and directed messages of other machines, Repeated those that came again, and Malformed
	// those that were not understood.
	Heard, Repeated, Malformed uint64
	// Gaps counts the gaps in the publications of other machines, and Missed the publications of those gaps whose size is
	// known. LostDirected counts directed messages that were lost.
	Gaps, Missed, LostDirected uint64
	// Resyncs counts outages after which the other machines were asked for their positions.
	Resyncs uint64
	// Asked counts questions to all machines, Answered those of others that were answered, and Unanswered machines that
	// have not answered in time. QuestionsRefused counts questions and answers beyond the limits.
	Asked, Answered, Unanswered, QuestionsRefused uint64
	// Machines is how many the directory knows, this one included; 0 if that is unknown. AnnounceErr is why this one could
	// not be announced.
	Machines    int
	AnnounceErr error
	// Unplaced counts publications on topics with a history that were delivered here without a place, in an outage. Reads
	// counts pages of histories that were read to repair holes, Renewed the epochs that ended because a server had lost
	// what was delivered, Overrun the publications that were dropped because too many waited for earlier ones, which are
	// read later, and RecallsLost the queries of workers that got no answer.
	Unplaced, Reads, Renewed, Overrun, RecallsLost uint64
	// Backplane is its state.
	Backplane backplane.Status
}

// Stats returns the counters of now.
func (r *Relay) Stats() Stats {
	plane := r.Backplane.Status()
	r.mu.Lock()
	defer r.mu.Unlock()
	s := r.stats
	s.Topics, s.Backplane = len(r.receivers), plane
	s.Renewed += plane.Renewed
	return s
}

// counts returns the counters in the order of the state.
func (s *Stats) counts() []*uint64 {
	return []*uint64{
		&s.Sent, &s.Refused, &s.Heard, &s.Repeated, &s.Malformed, &s.Gaps, &s.Missed, &s.LostDirected, &s.Resyncs,
		&s.Asked, &s.Answered, &s.Unanswered, &s.QuestionsRefused,
		&s.Unplaced, &s.Reads, &s.Renewed, &s.Overrun, &s.RecallsLost,
	}
}

// Counters returns the counters by name.
func (s *Stats) Counters() map[string]uint64 {
	return map[string]uint64{
		"sent": s.Sent, "refused": s.Refused, "dropped": s.Backplane.Dropped, "heard": s.Heard, "repeated": s.Repeated,
		"malformed": s.Malformed, "gaps": s.Gaps, "missed": s.Missed, "lost_directed": s.LostDirected,
		"unplaced": s.Unplaced, "reads": s.Reads, "renewed": s.Renewed, "overrun": s.Overrun, "recalls_lost": s.RecallsLost,
		"unverified": s.Backplane.Unverified,
		"resyncs":    s.Resyncs, "interrupted": s.Backplane.Interrupted, "sent_again": s.Backplane.Repeated,
		"asked": s.Asked, "answered": s.Answered, "unanswered": s.Unanswered, "questions_refused": s.QuestionsRefused,
	}
}
