package prom

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"chaos/lang/value"
	"chaos/runtime/command"
	"chaos/runtime/env"
	"chaos/runtime/filefail"
	"chaos/runtime/netfail"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// maxAnswer bounds one answer, in bytes: one number needs little, and a query may give a million series by mistake.
const maxAnswer = 16 << 20

var errTooLong = fmt.Errorf("the answer is longer than %dMiB", maxAnswer>>20)

// client asks one server.
type client struct {
	api       v1.API
	raw       api.Client
	transport *http.Transport
	server    *url.URL
	peer      string // host:port, for messages
	who       string // the probe and its query, for the report
	query     string
	reads     []selector
	maxAge    time.Duration // 0 for what the targets say
	timeout   time.Duration
	log       func(string) // nil for nobody
	hide      func(string) string

	mu      sync.Mutex
	said    map[string]bool // warnings that were shown
	limits  limits
	learned time.Time // when limits was asked for
}

// connect checks the arguments. It sends nothing yet.
func connect(probe, query string, e env.Env, o options) (*client, error) {
	if strings.TrimSpace(query) == "" {
		return nil, errors.New("`query` is empty")
	}
	reads, err := selectors(query, e.Hidden)
	if err != nil {
		return nil, err
	}
	server, err := serverURL(o.Server)
	if err != nil {
		return nil, err
	}
	auth, err := authorization(server, o)
	if err != nil {
		return nil, err
	}
	server.User = nil
	trust := &tls.Config{InsecureSkipVerify: o.Insecure}
	if o.CA != "" {
		if trust.RootCAs, err = certificates(e.Dir, o.CA); err != nil {
			return nil, err
		}
	}
	// No proxy from the environment: a probe measures the way that its URL names.
	transport := &http.Transport{TLSClientConfig: trust, ForceAttemptHTTP2: true}
	raw, err := api.NewClient(api.Config{Address: server.String(), Client: &http.Client{
		Transport: sender{next: transport, authorization: auth},
		CheckRedirect: func(r *http.Request, _ []*http.Request) error {
			return fmt.Errorf("it redirects to %s; give that as `server`", r.URL.Redacted()) // credentials go to whom the script names
		},
	}})
	if err != nil {
		return nil, fmt.Errorf("`server`: %s is no URL", value.Quote(o.Server))
	}
	return &client{
		api: v1.NewAPI(raw), raw: raw, transport: transport, server: server, peer: peer(server), who: probe + " " + clip(e.Hidden(query), 60),
		query: query, reads: reads, maxAge: o.MaxAge, timeout: o.Timeout, log: e.Log, hide: e.Hidden, said: map[string]bool{},
	}, nil
}

func serverURL(text string) (*url.URL, error) {
	u, err := url.Parse(text)
	switch {
	case !strings.Contains(text, "://"):
		return nil, fmt.Errorf("`server`: %s has no scheme; write %s", value.Quote(text), value.Quote("http://"+text))
	case err != nil: // never the text: it may hold a password
		return nil, errors.New("`server` is no URL, as in \"http://127.0.0.1:9090\"")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("`server`: %s is neither http nor https", value.Quote(u.Redacted()))
	case u.Hostname() == "":
		return nil, fmt.Errorf("`server`: %s names no host", value.Quote(u.Redacted()))
	case u.RawQuery != "" || u.Fragment != "":
		return nil, fmt.Errorf("`server`: %s goes on behind its path; write %s", value.Quote(u.Redacted()), value.Quote(u.Scheme+"://"+u.Host+u.Path))
	}
	// What people copy out of a browser.
	u.Path = strings.TrimSuffix(strings.TrimRight(u.Path, "/"), "/api/v1")
	return u, nil
}

func peer(u *url.URL) string {
	port := u.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[u.Scheme]
	}
	return net.JoinHostPort(u.Hostname(), port)
}

// authorization is the header of that name, "" for none.
func authorization(server *url.URL, o options) (string, error) {
	user, password := o.User, o.Password
	if server.User != nil {
		if user != "" {
			return "", errors.New("`user` stands in the `server` too; give it once")
		}
		user = server.User.Username()
		if given, ok := server.User.Password(); ok {
			password = given
		}
	}
	switch {
	case o.Bearer != "" && user != "":
		return "", errors.New("`user` and `bearer` exclude each other: a request has one authorization")
	case password != "" && user == "":
		return "", errors.New("`password` needs its `user`")
	case strings.Contains(user, ":"):
		return "", errors.New("`user` must not hold a colon: the password begins behind it")
	case strings.ContainsAny(o.Bearer, "\r\n"):
		return "", errors.New("`bearer` must be one line")
	case o.Bearer != "":
		return "Bearer " + o.Bearer, nil
	case user != "":
		r := &http.Request{Header: http.Header{}}
		r.SetBasicAuth(user, password)
		return r.Header.Get("Authorization"), nil
	}
	return "", nil
}

func certificates(dir, path string) (*x509.CertPool, error) {
	path = command.Resolve(dir, path)
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("`ca`: %s: %s", path, filefail.Why(err))
	}
	pool := x509.NewCertPool()
	if !pool.AppendCertsFromPEM(data) {
		return nil, fmt.Errorf("`ca`: %s holds no certificate in PEM", path)
	}
	return pool, nil
}

// sender adds the authorization to each request, and bounds each answer.
type sender struct {
	next          http.RoundTripper
	authorization string
}

func (s sender) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("User-Agent", "chaos")
	if s.authorization != "" {
		r.Header.Set("Authorization", s.authorization)
	}
	answer, err := s.next.RoundTrip(r)
	if err == nil {
		answer.Body = &bounded{answer.Body, maxAnswer}
	}
	return answer, err
}

// bounded is a body that ends with an error instead of filling the memory.
type bounded struct {
	io.ReadCloser
	left int
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.left <= 0 {
		return 0, errTooLong
	}
	n, err := b.ReadCloser.Read(p[:min(len(p), b.left)])
	b.left -= n
	return n, err
}

// sampling runs one sample, bounded in time, on connections that end with it: one kept would hide that nobody accepts new
// ones, and would outlive the run. It returns when ctx ends, whatever the library still does.
func sampling[S any](parent context.Context, c *client, take func(context.Context) (S, error)) (S, error) {
	ctx, cancel := context.WithTimeout(parent, c.timeout)
	defer cancel()
	defer c.transport.CloseIdleConnections()
	out, err := take(ctx)
	switch {
	case err == nil:
		return out, nil
	case errors.Is(parent.Err(), context.Canceled):
		return out, parent.Err()
	case ctx.Err() != nil || netfail.IsTimeout(err):
		return out, errors.New(netfail.Timeout(c.peer, c.timeout))
	}
	return out, c.explain(err)
}

// ask sends a query for an instant; the zero time is the server's now.
func (c *client) ask(ctx context.Context, query string, at time.Time) (model.Value, error) {
	v, warnings, infos, err := c.api.Query(ctx, query, at, c.serverTimeout())
	c.warn(append(warnings, infos...)...)
	return v, err
}

// serverTimeout lets the server give up too, should a proxy keep our hanging up from it. It takes no fractions of seconds.
func (c *client) serverTimeout() v1.Option {
	return v1.WithTimeout((c.timeout + time.Second - 1).Truncate(time.Second))
}

// warn shows each text once in the report.
func (c *client) warn(texts ...string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	const most = 20 // of different texts, should they hold something that changes
	for _, text := range texts {
		if c.log == nil || c.said[text] || len(c.said) == most {
			continue
		}
		c.said[text] = true
		c.log(fmt.Sprintf("%s: %s", c.who, c.clip(text, 400)))
	}
}

// get reads a part of the API that the library does not cover as it is needed here.
func (c *client) get(ctx context.Context, path string, parameters url.Values, into any) error {
	u := c.raw.URL(path, nil)
	u.RawQuery = parameters.Encode()
	r, err := http.NewRequest(http.MethodGet, u.String(), nil)
	if err != nil {
		return err
	}
	answer, body, err := c.raw.Do(ctx, r)
	switch {
	case err != nil:
		return err
	case answer.StatusCode != http.StatusOK:
		return &v1.Error{Type: v1.ErrClient, Msg: fmt.Sprintf("client error: %d", answer.StatusCode)}
	}
	return json.Unmarshal(body, &struct {
		Data any `json:"data"`
	}{into})
}

var (
	parsePlace = regexp.MustCompile(`(\d+):(\d+): (?:parse error: )?(.*)`)
	statusCode = regexp.MustCompile(`\d{3}$`)
)

// explain says what went wrong and what to do. An error that is neither the library's nor the network's is one of ours.
func (c *client) explain(err error) error {
	var answered *v1.Error
	var sent *url.Error
	switch {
	case errors.Is(err, errTooLong):
		return fmt.Errorf("%s: %w: the query gives too many series or points", c.peer, errTooLong)
	case errors.As(err, &answered):
		return c.explainAnswer(answered)
	case errors.As(err, &sent):
		text := netfail.Text(err, c.peer)
		if strings.HasPrefix(text, "connection refused") {
			text += ": no Prometheus listens there; `server` names another"
		}
		if strings.HasPrefix(text, "it redirects") {
			text = c.peer + " does not answer: " + text
		}
		return errors.New(text)
	}
	return err
}

func (c *client) explainAnswer(e *v1.Error) error {
	status, _ := strconv.Atoi(statusCode.FindString(e.Msg))
	switch {
	case e.Type == v1.ErrBadData && parsePlace.MatchString(e.Msg):
		m := parsePlace.FindStringSubmatch(e.Msg)
		line, _ := strconv.Atoi(m[1])
		column, _ := strconv.Atoi(m[2])
		return fmt.Errorf("the query does not parse: %s: %s", m[3], pointAt(c.query, offset(c.query, line, column), c.hide))
	case e.Type == v1.ErrBadData, e.Type == v1.ErrExec:
		return fmt.Errorf("%s cannot evaluate the query: %s", c.peer, c.clip(e.Msg, 400))
	case e.Type == v1.ErrTimeout:
		return fmt.Errorf("%s took longer than %s to evaluate the query", c.peer, value.DurationOf(c.timeout))
	case e.Type == v1.ErrBadResponse && strings.Contains(e.Msg, `"string"`): // the library has no type for it
		return errors.New("the query gives a text, not a number")
	case e.Type == v1.ErrBadResponse:
		return c.strange()
	case status == http.StatusUnauthorized:
		return fmt.Errorf("%s answers 401: it wants a login; give `user` and `password`, or `bearer`", c.peer)
	case status == http.StatusForbidden:
		return fmt.Errorf("%s answers 403: this login may not query", c.peer)
	case status == http.StatusNotFound:
		return fmt.Errorf("%s answers 404: there is no Prometheus API at %s; does `server` lack a path, as in %s/prometheus?", c.peer, c.server, c.server)
	}
	text, _, _ := strings.Cut(strings.TrimSpace(e.Detail), "\n")
	var told struct{ Error string }
	if json.Unmarshal([]byte(text), &told) == nil && told.Error != "" {
		text = told.Error
	}
	if text == "" || strings.HasPrefix(text, "<") {
		return fmt.Errorf("%s answers %d", c.peer, status)
	}
	return fmt.Errorf("%s answers %d: %s", c.peer, status, c.clip(text, 200))
}

// clip cuts what the server says, which may quote the query.
func (c *client) clip(text string, most int) string { return clip(c.hide(text), most) }

// strange is for an answer that is no error and yet cannot be.
func (c *client) strange() error {
	return fmt.Errorf("%s does not answer as a Prometheus does; does `server` lack a path, as in %s/prometheus?", c.peer, c.server)
}

// offset is where a line and a column, both from 1 on, are in a text. Prometheus counts bytes.
func offset(text string, line, column int) int {
	at := 0
	for ; line > 1; line-- {
		n := strings.IndexByte(text[at:], '\n')
		if n < 0 {
			break
		}
		at += n + 1
	}
	return min(at+max(column-1, 0), len(text))
}
