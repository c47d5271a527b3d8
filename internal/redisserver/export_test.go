package redisserver

// OutdatedBy is Outdated for what a server says, with other changelogs.
var OutdatedBy = outdated
