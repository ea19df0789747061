-- Requests for wrk: every one has a query and documents that no other has, so that nothing is known before. Arguments: documents, words of each, and
-- `same` for one query in all requests.
local words = {}
for word in ("river train capital bridge market winter engine paper signal garden copper letter valley window island harbour " ..
  "the of a in and to is for on with by from at as it that"):gmatch("%S+") do words[#words + 1] = word end

local threads = 0
function setup(thread)
  thread:set("id", threads)
  threads = threads + 1
end

local documents, length, same, n
function init(arguments)
  documents, length, same = tonumber(arguments[1]), tonumber(arguments[2]), arguments[3] == "same"
  n = 0
  math.randomseed(id + 1)
end

local function text(count)
  local out = {}
  for i = 1, count do out[i] = words[math.random(#words)] end
  return table.concat(out, " ")
end

function request()
  n = n + 1
  local list = {}
  for i = 1, documents do list[i] = '"' .. text(length) .. " " .. id .. "." .. n .. "." .. i .. '"' end
  local query = same and "which river has the longest bridge" or text(8) .. " " .. id .. "." .. n
  local body = '{"query":"' .. query .. '","documents":[' .. table.concat(list, ",") .. "]}"
  return wrk.format("POST", "/v1/rerank", { ["content-type"] = "application/json" }, body)
end

function done(summary, latency)
  local e = summary.errors
  io.write(string.format('\n{"requests":%d,"seconds":%f,"p50":%f,"p95":%f,"p99":%f,"max":%f,"refused":%d,"broken":%d}\n', summary.requests,
    summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
