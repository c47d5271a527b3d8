package gateway

import "time"

// Everything that a client can make large or slow has its limit here.
const (
	maxHeaderBytes = 16 << 10 // request line and headers of a request
	maxConns       = 16384    // connections that are not (yet) WebSockets
	maxPathBytes   = 4096     // escaped path
	maxCredential  = 8 << 10  // a token or JWT

	loginBody   = 12 << 10  // read before anybody is known
	idleBody    = 4 << 10   // of requests whose body means nothing, such as interrupt
	kernelBody  = 256 << 10 // old clients send their whole environment
	sessionBody = 64 << 10

	maxName        = 256  // bytes in a kernelspec's name, a type, an echoed id
	maxSessionText = 4096 // bytes in a session's path or name
	maxUserAgent   = 256  // bytes of it that the bridge sees
	maxPermissions = 64   // resources asked for in /api/me, and actions of one

	maxPage = 160 << 20 // bytes of one: a kernel's largest message, its buffers in base64

	maxSeconds = 1e6 // in a length of time; more means none

	headerTimeout = 5 * time.Second
	bodyTimeout   = 10 * time.Second
	idleTimeout   = 2 * time.Minute
	writeTimeout  = 2 * time.Minute  // from the headers to the end of the response
	callTimeout   = 90 * time.Second // one call into the domain; a restart takes up to 60 s

	pageTimeout  = 90 * time.Second // for a bridge to write a page of its journal, and for the client to take it
	bridgeWait   = 30 * time.Second // for a starting kernel's bridge to listen
	firstPause   = 20 * time.Millisecond
	longestPause = 500 * time.Millisecond
	headTimeout  = 10 * time.Second // for the bridge to answer the upgrade
	maxHead      = 8 << 10          // bytes of that answer

	stallTimeout   = 90 * time.Second // one write on a WebSocket without progress
	lingerTimeout  = time.Second      // for the client to read the last bytes
	goodbyeTimeout = 5 * time.Second  // for the bridge to say goodbye to the client
	leaveTimeout   = 2 * time.Second  // for the bridge to hear that it should
	leavesAtOnce   = 32               // of a drain
	drainTimeout   = 10 * time.Second // for all of them together, and for requests
	recheckAfter   = 20 * time.Second // age at which an open WebSocket's credential is looked at again
	recheckEvery   = 5 * time.Second

	maxLogText = 256 // bytes of a path in the log

	maxLoginFailures = 20 // of one address in one window
	loginWindow      = time.Minute
	maxThrottled     = 4096 // addresses remembered
)
