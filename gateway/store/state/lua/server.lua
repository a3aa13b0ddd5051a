-- Which server this is: its process and its history, both of which a failover or a restart changes.
local function server()
  local run = string.match(call('INFO', 'server'), 'run_id:(%w+)')
  local history = string.match(call('INFO', 'replication'), 'master_replid:(%w+)')
  return string.sub(run, 1, 12) .. '-' .. string.sub(history, 1, 12)
end
