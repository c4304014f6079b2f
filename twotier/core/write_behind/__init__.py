"""Write-behind: writes that land in the cache at once, and at the source by way of a stream on the server."""
