package doctor

import (
	"net"
	"net/url"
	"strings"
)

// redisChecks are about the Redis that says who may do what.
var redisChecks = []check{
	{"redis.version", "With CVE-2025-49844 a script in Redis becomes any code as Redis' user.",
		"", ofRedis(redisVersion)},
	{"redis.eviction", "A Redis that makes room by throwing away records loses users, tokens and quotas.",
		"maxmemory-policy noeviction in redis.conf, and: redis-cli CONFIG SET maxmemory-policy noeviction", ofRedis(eviction)},
	{"redis.transport", "What goes to Redis and back is who may do what.",
		"", transport},
}

func ofRedis(look func(*Host, map[string]string) verdict) func(*Host) verdict {
	return func(h *Host) verdict {
		info, err := h.Redis()
		if err != nil && strings.Contains(err.Error(), "NOPERM") {
			return verdict{Unknown, "The user of redis.url may not ask Redis about itself.", "+info in that user's rules; or, as another user: redis-cli INFO"}
		}
		if err != nil {
			return unknown("Redis", err)
		}
		return look(h, info)
	}
}

func redisVersion(h *Host, info map[string]string) verdict {
	a, product, version := redisAdvisory, "Redis", info["redis_version"]
	if v := info["valkey_version"]; v != "" {
		a, product, version = valkeyAdvisory, "Valkey", v
	}
	if h.Config.Redis.URL != "" && !strings.HasPrefix(h.Config.Redis.URL, "unix:") {
		a.packages = nil // it may run on another machine
	}
	return a.floor(h, product, version)
}

func eviction(_ *Host, info map[string]string) verdict {
	switch policy := info["maxmemory_policy"]; {
	case policy == "":
		return verdict{Unknown, "Redis does not say what it does when its memory is full.", ""}
	case policy != "noeviction" && info["maxmemory"] != "0":
		return fail("Redis throws records away when its memory is full (maxmemory-policy %s).", policy)
	}
	return ok("Redis throws nothing away.")
}

func transport(h *Host) verdict {
	address := h.Config.Redis.URL
	if address == "" || strings.HasPrefix(address, "unix:") {
		return ok("Redis is on this machine, behind a Unix socket.")
	}
	u, err := url.Parse(address)
	if err != nil {
		return unknown("redis.url", err)
	}
	ip := net.ParseIP(u.Hostname())
	switch {
	case u.Scheme != "rediss" && u.Hostname() != "localhost" && (ip == nil || !ip.IsLoopback()):
		return warn("Redis is asked over the network without encryption.").with("redis.url: rediss://…, in %s", h.ConfigFile)
	case !hasPassword(address):
		return warn("Redis is asked without a password: every process that reaches its port may do everything.").
			with("requirepass or an ACL user in redis.conf, and redis.url: %s://USER:PASSWORD@%s, in %s", u.Scheme, u.Host, h.ConfigFile)
	}
	return ok("Redis wants a password, and what is said is encrypted or stays on this machine.")
}
