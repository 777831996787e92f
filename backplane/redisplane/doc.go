// Package redisplane is a backplane.Backplane over Redis: see [New].
package redisplane
