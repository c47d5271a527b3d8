package redisserver

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"strings"

	"cellblock.io/cellblock/internal/secret"
)

// The users of a private server. Nobody gets in without a password: the default user is off.
const (
	gatewayUser = "cellblock" // of gateways and commands
	adminUser   = "admin"     // of whoever looks after the server itself: to shut it down, and to change these users
)

// gatewayCommands are all that Cellblock sends, by itself or from its scripts, and nothing that reads or changes
// another's keys, the server, or what other connections do.
//
// EVALSHA runs our scripts; EVAL is how go-redis brings one to a server that does not have it (any more, after a
// restart). Allowing SCRIPT LOAD instead would give nothing away less. A script may do no more than its user: each of
// its commands and keys is checked against this list. What remains is a fault of the interpreter itself, which doctor looks for.
var gatewayCommands = strings.Fields(`ping eval evalsha
	get set del exists expire pexpire pexpireat persist pttl
	hdel hexists hget hgetall hkeys hlen hmget hset hsetnx
	sadd smembers srem
	zadd zcard zcount zrange zrem zremrangebyscore zrevrange`)

// users are the rules of all users, in the words of ACL SETUSER and of the configuration file. They hold no password,
// only its hash.
func users(key secret.Key) []string {
	return []string{
		fmt.Sprintf("%s reset on #%s ~* &* +@all", adminUser, digest(password(key, adminUser))),
		fmt.Sprintf("%s reset on #%s ~cellblock:* +%s", gatewayUser, digest(password(key, gatewayUser)), strings.Join(gatewayCommands, " +")),
		// Nobody can be it. But when the server reads its file again, it checks what scripts wrote with this user's rights.
		"default reset off ~cellblock:* +unlink +" + strings.Join(gatewayCommands, " +"),
	}
}

// password is a user's, made from the installation's key.
func password(key secret.Key, user string) string { return key.For("redis user " + user).Password() }

func digest(password string) string {
	sum := sha256.Sum256([]byte(password))
	return hex.EncodeToString(sum[:])
}
