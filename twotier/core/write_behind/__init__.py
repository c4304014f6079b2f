"""Write-behind: a write reaches the cache at once, and the source later, through a stream on the server."""
