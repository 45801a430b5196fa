# Downloads a small model, quantizes it, asks it something, and says what comes next. In PowerShell, in the folder of
# salient.exe:
#   powershell -ExecutionPolicy Bypass -File quickstart.ps1 [-Model NAME] [-Folder FOLDER]
param(
  [string]$Model = "HuggingFaceTB/SmolLM2-135M-Instruct",
  [string]$Folder = (Join-Path $PSScriptRoot "quantized")
)
$ErrorActionPreference = "Stop"
$salient = Join-Path $PSScriptRoot "salient.exe"

function Invoke-Salient {
  & $salient @args
  if ($LASTEXITCODE -ne 0) { throw "salient $($args[0]) ended with $LASTEXITCODE" }
}

Invoke-Salient --version
if (-not (Test-Path $Folder)) { Invoke-Salient quantize $Model --output $Folder --resume }
Invoke-Salient generate $Folder --chat-template --prompt "Why is the sky blue? Answer in two sentences." --max-tokens 100
Write-Host "Chat:         .\salient.exe chat `"$Folder`""
Write-Host "Chat page:    .\salient.exe serve `"$Folder`"   and http://127.0.0.1:8080 in a browser"
