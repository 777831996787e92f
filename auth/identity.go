package auth

// Identity is who a client is. The zero Identity is a client that nobody has asked for its name.
type Identity struct {
	// User is the subject that the client acts for: what App.SendUser takes. Empty is anonymous.
	User string
}
