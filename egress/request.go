package egress

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"

	"github.com/elazarl/goproxy"
)

// refusal is why a request goes nowhere.
type refusal struct {
	status   int
	target   target
	reason   string // for the log
	sentence string // for a person
}

// serveRequest looks at a request of a kernel and hands it to goproxy, or answers with a sentence.
func (p *Proxy) serveRequest(w http.ResponseWriter, r *http.Request) {
	p.serving.Add(1)
	defer p.serving.Done()
	c, ok := r.Context().Value(clientKey{}).(*client)
	if !ok {
		http.Error(w, "Cellblock: a request from nobody.", http.StatusForbidden)
		return
	}
	f, no := p.admit(r.Context(), c, r)
	if no != nil {
		c.kernel.note(line{
			method: r.Method, name: no.target.name, port: no.target.port, verdict: "refused", reason: no.reason, asked: r.RequestURI,
		})
		w.Header().Set("Connection", "close")
		http.Error(w, "Cellblock: "+no.sentence, no.status)
		return
	}
	r.Host = r.URL.Host
	if hijacker, ok := w.(http.Hijacker); ok && r.Method != http.MethodConnect {
		w = flushed{w, hijacker}
	}
	p.tunnel.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), flowKey{}, f)))
	// A tunnel goes on by itself and ends its flow; a plain request is over.
	if r.Method != http.MethodConnect || !f.isConnected() {
		f.end("allowed", "")
	}
}

// flushed hands on at once what a server says, which goproxy does for event streams only.
type flushed struct {
	http.ResponseWriter
	http.Hijacker
}

// Write implements io.Writer.
func (w flushed) Write(p []byte) (int, error) {
	n, err := w.ResponseWriter.Write(p)
	if err == nil {
		err = http.NewResponseController(w.ResponseWriter).Flush()
	}
	return n, err
}

func (f *flow) isConnected() bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.conn != nil
}

// admit decides about a request. It returns a flow with its place taken, or a refusal.
func (p *Proxy) admit(ctx context.Context, c *client, r *http.Request) (*flow, *refusal) {
	k := c.kernel
	if !k.requests.Allow() {
		return nil, &refusal{http.StatusTooManyRequests, target{}, "too many requests", "this kernel asks too often. Try again in a moment."}
	}
	t, no := requested(r)
	if no != nil {
		return nil, no
	}
	policy, err := p.cfg.Policy(ctx, k.Owner)
	if err != nil {
		return nil, &refusal{http.StatusServiceUnavailable, t, "policy unknown: " + err.Error(), "the network policy cannot be read at the moment. Try again soon."}
	}
	if !policy.allows(t) {
		return nil, &refusal{http.StatusForbidden, t, "not in the policy", policy.denies(t)}
	}
	addresses, no := p.lookup(ctx, t, policy)
	if no != nil {
		return nil, no
	}
	if used := k.tenant.take(policy); used != "" {
		return nil, &refusal{http.StatusTooManyRequests, t, used, "the limit of the network policy is reached: " + used + "."}
	}
	f := &flow{
		kernel: k, client: c, method: r.Method, target: t, permitted: policy.permitted, addresses: addresses, begun: time.Now(),
		hello: hello{want: t, done: r.Method != http.MethodConnect},
	}
	p.serving.Add(1)
	k.mu.Lock()
	k.flows[f] = true
	closed := k.closed
	k.mu.Unlock()
	if closed {
		f.end("cut", "the kernel has ended")
		return nil, &refusal{http.StatusForbidden, t, "the kernel has ended", "this kernel has ended."}
	}
	return f, nil
}

// denies is the sentence for what the policy does not allow.
func (p Policy) denies(t target) string {
	if p.Name == "" {
		return fmt.Sprintf("this account may not reach %s: it has no network policy that allows anything.", t)
	}
	if len(p.rules) == 0 {
		return fmt.Sprintf("the network policy of this account is now %s, which allows nothing here. A kernel that is started now has its network.", p.Name)
	}
	return fmt.Sprintf("the network policy %s does not allow %s.", p.Name, t)
}

// requested reads where a request wants to go.
func requested(r *http.Request) (target, *refusal) {
	authority := r.RequestURI
	switch {
	case r.Method == http.MethodConnect:
	case !r.URL.IsAbs():
		return target{}, &refusal{http.StatusBadRequest, target{}, "no proxy request", "this is a proxy: ask it with CONNECT name:443, or with a whole http:// address."}
	case r.URL.Scheme != "http" || r.URL.User != nil || r.URL.Opaque != "":
		return target{}, &refusal{http.StatusForbidden, target{}, "not a plain http address", "only http:// addresses without a user are fetched; for https use CONNECT."}
	default:
		if authority = r.URL.Host; r.URL.Port() == "" {
			authority = net.JoinHostPort(r.URL.Hostname(), "80")
		}
	}
	t, err := parseTarget(authority)
	switch {
	case err != nil:
		return target{}, &refusal{http.StatusForbidden, target{}, err.Error(), "what was asked for is " + err.Error() + "."}
	case t.port == mailPort:
		return target{}, &refusal{http.StatusForbidden, t, "mail", "kernels send no mail: port 25 is closed."}
	case r.Method != http.MethodConnect && t.port == httpsPort:
		return target{}, &refusal{http.StatusForbidden, t, "plain http to port 443", "port 443 is for TLS: use CONNECT."}
	}
	return t, nil
}

// lookup returns the addresses of a target that may be dialled. A name is looked up only after the policy has let it
// pass: what nobody may reach does not become a question to a name server either.
func (p *Proxy) lookup(ctx context.Context, t target, policy Policy) ([]netip.Addr, *refusal) {
	found := []netip.Addr{t.address}
	if !t.address.IsValid() {
		ctx, cancel := context.WithTimeout(ctx, lookupTimeout)
		defer cancel()
		var err error
		// The dot at the end keeps the machine's search domains out.
		if found, err = p.cfg.Resolver.LookupNetIP(ctx, "ip", t.name+"."); err != nil || len(found) == 0 {
			return nil, &refusal{http.StatusBadGateway, t, "not found", "no address was found for " + t.name + "."}
		}
	}
	var allowed []netip.Addr
	var reason string
	check := p.gate()
	for _, a := range found {
		a = a.Unmap()
		if no := check(a, policy.permitted); no != "" {
			reason = no + ": " + a.String()
			continue
		}
		allowed = append(allowed, a)
	}
	if len(allowed) == 0 {
		return nil, &refusal{http.StatusForbidden, t, reason, t.name + " has no address that kernels may reach."}
	}
	return allowed, nil
}

// tunnelFailed answers a CONNECT whose server could not be reached.
func tunnelFailed(w io.Writer, ctx *goproxy.ProxyCtx, err error) {
	if errors.Is(err, net.ErrClosed) {
		return
	}
	text := unreachable(ctx.Req)
	fmt.Fprintf(w, "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/plain; charset=utf-8\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
}

// requestFailed answers a plain request whose server could not be reached.
func requestFailed(resp *http.Response, ctx *goproxy.ProxyCtx) *http.Response {
	if resp != nil {
		return resp
	}
	return goproxy.NewResponse(ctx.Req, goproxy.ContentTypeText, http.StatusBadGateway, unreachable(ctx.Req))
}

func unreachable(r *http.Request) string { return "Cellblock: " + r.URL.Host + " does not answer.\n" }
