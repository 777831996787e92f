package redisconn

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/redis/rueidis"
)

// redisURL is a URL in parts. No error contains a part of the URL, as it may be a part of the password.
type redisURL struct {
	scheme     string // redis, unix
	kind       string // sentinel, cluster, or empty
	tls        bool
	user, pass string
	hosts      []string
	path       string
	query      url.Values
}

// redisSchemes lists the valid schemes, for errors.
const redisSchemes = "redis, rediss, unix, redis+sentinel, rediss+sentinel, redis+cluster, rediss+cluster"

// redisOptions returns the names of valid options.
func redisOptions() []string { return []string{"db", "ca", "sentinel_user", "sentinel_password"} }

// ParseURL returns the options of the client library for a URL, see [Open]: the addresses, the user, the database, TLS,
// the Sentinels. ForceSingleClient is set if the URL has one server. Its errors do not contain the URL.
func ParseURL(rawURL string) (rueidis.ClientOption, error) { return parseURL(rawURL) }

// parseURL returns the options of the client library for a URL.
func parseURL(raw string) (rueidis.ClientOption, error) {
	u, err := splitRedisURL(raw)
	if err != nil {
		return rueidis.ClientOption{}, err
	}
	o := rueidis.ClientOption{Username: u.user, Password: u.pass}
	if u.tls {
		if o.TLSConfig, err = redisTLS(u.query.Get("ca")); err != nil {
			return o, err
		}
	} else if u.query.Has("ca") {
		return o, errors.New("the option ca is for rediss only")
	}
	if u.scheme == "unix" {
		o.InitAddress, o.ForceSingleClient = []string{u.path}, true
		o.DialCtxFn = func(ctx context.Context, path string, d *net.Dialer, _ *tls.Config) (net.Conn, error) {
			return d.DialContext(ctx, "unix", path)
		}
		o.SelectDB, err = redisDB(u.query.Get("db"))
		return o, err
	}
	port := "6379"
	if u.kind == "sentinel" {
		port = "26379"
	}
	if o.InitAddress, err = redisHosts(u.hosts, port); err != nil {
		return o, err
	}
	path := strings.Trim(u.path, "/")
	switch u.kind {
	case "sentinel":
		err = u.sentinel(&o, path)
	case "cluster":
		o.ShuffleInit = true
		if path != "" && path != "0" || u.query.Has("db") {
			err = errors.New("a cluster has no databases")
		}
	default:
		if o.ForceSingleClient = true; len(o.InitAddress) > 1 {
			return o, errors.New("several hosts: want redis+sentinel:// or redis+cluster://")
		}
		o.SelectDB, err = redisDB(cmp.Or(path, u.query.Get("db")))
	}
	return o, err
}

// sentinel sets the options that only URLs of Sentinels have.
func (u *redisURL) sentinel(o *rueidis.ClientOption, path string) (err error) {
	name, db, _ := strings.Cut(path, "/")
	if name == "" {
		return errors.New("the name of the primary is missing: want …/mymaster")
	}
	o.Sentinel = rueidis.SentinelOption{
		MasterSet: name, TLSConfig: o.TLSConfig,
		Username: u.query.Get("sentinel_user"), Password: u.query.Get("sentinel_password"),
	}
	// Sentinels often have the password of their Redis. Those that need none accept any password of the default user.
	if o.Sentinel.Username == "" && o.Sentinel.Password == "" && o.Username == "" {
		o.Sentinel.Password = o.Password
	}
	o.SelectDB, err = redisDB(cmp.Or(db, u.query.Get("db")))
	return err
}

// splitRedisURL splits a URL. net/url accepts only one host, and its errors contain the password.
func splitRedisURL(raw string) (u redisURL, err error) {
	name, rest, ok := strings.Cut(raw, "://")
	if !ok {
		return u, errors.New("no scheme: want one of " + redisSchemes)
	}
	var secure string
	secure, u.kind, _ = strings.Cut(name, "+")
	u.scheme, u.tls = secure, secure == "rediss"
	if u.tls {
		u.scheme = "redis"
	}
	known := u.scheme == "redis" && slices.Contains([]string{"", "sentinel", "cluster"}, u.kind) || name == "unix"
	if !known || strings.HasSuffix(name, "+") {
		return u, errors.New("an unknown scheme: want one of " + redisSchemes)
	}
	end := strings.IndexAny(rest, "/?#")
	if end < 0 {
		end = len(rest)
	}
	authority, rest := rest[:end], rest[end:]
	if strings.Contains(rest, "@") {
		return u, errors.New("an @ after the host: write / ? # @ as %2F %3F %23 %40 in a user, a password or a path")
	}
	hosts := authority
	if at := strings.LastIndexByte(authority, '@'); at >= 0 {
		hosts = authority[at+1:]
		if u.user, u.pass, err = redisUser(authority[:at]); err != nil {
			return u, err
		}
	}
	path, query, _ := strings.Cut(rest, "?")
	if strings.Contains(rest, "#") {
		return u, errors.New("a # after the host")
	}
	if u.path, err = url.PathUnescape(path); err != nil {
		return u, errors.New("an invalid % in the path")
	}
	if u.query, err = url.ParseQuery(query); err != nil {
		return u, errors.New("invalid options after ?")
	}
	for k := range u.query {
		if !slices.Contains(redisOptions(), k) {
			return u, fmt.Errorf("an unknown option: want one of %s", strings.Join(redisOptions(), ", "))
		}
	}
	if u.scheme == "unix" {
		if hosts != "" || u.path == "" || u.path == "/" {
			return u, errors.New("want unix:///path/of/socket, or unix://user:password@/path/of/socket")
		}
		return u, nil
	}
	u.hosts = strings.Split(hosts, ",")
	return u, nil
}

// redisUser parses the part before the @.
func redisUser(s string) (user, password string, err error) {
	user, password, ok := strings.Cut(s, ":")
	if !ok && user != "" {
		return "", "", errors.New("a user without a password: want user:password@ or :password@")
	}
	if user, err = url.PathUnescape(user); err == nil {
		password, err = url.PathUnescape(password)
	}
	if err != nil {
		return "", "", errors.New("an invalid % in the user or the password: write % as %25")
	}
	if user != "" && password == "" {
		return "", "", errors.New("a user without a password: want user:password@ or :password@")
	}
	return user, password, nil
}

// redisHosts adds the default port to addresses. Its errors do not contain them: a host may be a part of a password.
func redisHosts(hosts []string, port string) ([]string, error) {
	list := make([]string, 0, len(hosts))
	for _, h := range hosts {
		name, p := h, port
		if i := strings.LastIndexByte(h, ':'); i >= 0 && !strings.HasSuffix(h, "]") {
			name, p = h[:i], h[i+1:]
		}
		if n, err := strconv.ParseUint(p, 10, 16); err != nil || n == 0 {
			return nil, errors.New("an invalid port: want host:port")
		}
		inner := strings.TrimSuffix(strings.TrimPrefix(name, "["), "]")
		switch {
		case inner == "":
			return nil, errors.New("a host is missing: want redis://host:port")
		case strings.ContainsAny(inner, " []%") || strings.Contains(inner, ":") && inner == name:
			return nil, errors.New("an invalid host: want host:port or [IPv6]:port")
		}
		list = append(list, net.JoinHostPort(inner, p))
	}
	return list, nil
}

func redisDB(s string) (int, error) {
	if s == "" {
		return 0, nil
	}
	n, err := strconv.ParseUint(s, 10, 16)
	if err != nil {
		return 0, errors.New("an invalid database: want a number, as in …/0")
	}
	return int(n), nil
}

// redisTLS returns a configuration that trusts the certificates in a file, or those of the system if ca is empty.
func redisTLS(ca string) (*tls.Config, error) {
	c := &tls.Config{MinVersion: tls.VersionTLS12}
	if ca == "" {
		return c, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	c.RootCAs = x509.NewCertPool()
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("ca: %s has no certificates", ca)
	}
	return c, nil
}
