package artillery

import (
	"slices"
	"strings"
)

// settings compiles config.
func (c *compiler) settings(n *node) error {
	err := n.known("target", "phases", "environments", "variables", "payload", "ws", "tls", "processor", "plugins",
		"ensure", "timeout", "defaults", "engine", "engines", "mode", "http", "socketio", "statsInterval", "apdex")
	if err != nil {
		return err
	}
	if err := c.target(n); err != nil {
		return err
	}
	if err := c.mode(n.get("mode")); err != nil {
		return err
	}
	if c.plan.Phases, err = c.phases(n.get("phases")); err != nil {
		return err
	}
	if err := c.variablesOf(n); err != nil {
		return err
	}
	if e := n.get("engine"); e != nil {
		c.engine = e.text
	}
	if d := n.get("defaults"); d != nil {
		if err := d.known("think", "headers", "cookie", "strictCapture"); err != nil {
			return err
		}
		if think := d.get("think"); think != nil {
			if err := think.known("jitter"); err != nil {
				return err
			}
			c.jitter = think.get("jitter")
		}
	}
	if c.ws, err = c.connection(n); err != nil {
		return err
	}
	c.plan.Timeout = c.ws.handshake
	return nil
}

// target compiles config.target.
func (c *compiler) target(n *node) error {
	t := n.get("target")
	if t == nil {
		hint := ""
		if known := c.script.Environments(); len(known) > 0 && c.script.environment == "" {
			hint = ", or choose an environment with --environment: " + strings.Join(known, ", ")
		}
		return n.fault("want target, such as ws://127.0.0.1:8080/echo%s", hint)
	}
	url, err := c.config.fixedText(t)
	if err != nil {
		return err
	}
	if url, err = scheme(url); err != nil {
		return t.fault("%s", err)
	}
	c.plan.Target = url
	c.config.consts["target"] = url
	return nil
}

// variablesOf compiles the variables that all users have. config.variables takes precedence over config.payload.
func (c *compiler) variablesOf(n *node) (err error) {
	if c.sources, err = c.payloads(n.get("payload")); err != nil {
		return err
	}
	if c.inline, err = c.variables(n.get("variables")); err != nil {
		return err
	}
	c.sources = append(c.sources, c.inline, identity{})
	for _, s := range c.sources {
		for _, name := range s.names() {
			c.users[name] = true
		}
	}
	return nil
}

// plugins compiles config.plugins and config.ensure.
func (c *compiler) plugins(n *node) error {
	plugins := n.get("plugins")
	if plugins != nil && plugins.kind != null {
		if err := plugins.is(object); err != nil {
			return err
		}
	}
	// These plugins only report, or belong to other engines: they do not change the load.
	idle := []string{"apdex", "expect", "fake-data", "metrics-by-endpoint", "publish-metrics", "slack"}
	for _, f := range plugins.fieldsOf() {
		switch {
		case f.key == "ensure":
		case f.key == "fake-data":
			return f.value.fault("the functions of this plugin are not supported")
		case slices.Contains(idle, f.key):
			c.warn(f.value, "this plugin is ignored")
		default:
			return plugins.known(append(idle, "ensure")...)
		}
	}
	checks := n.get("ensure")
	if !checks.truthy() {
		checks = plugins.get("ensure")
	}
	if !checks.truthy() {
		return nil
	}
	judge, err := c.ensure(checks)
	c.plan.Judge = judge
	return err
}
