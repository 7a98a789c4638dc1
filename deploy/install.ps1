# Install Clarifier: download the program for this machine, verify its SHA-256 and put it into one folder.
#
#   .\install.ps1               install the version that this script was published with
#   .\install.ps1 -Version X    install another version
#   .\install.ps1 -Uninstall    remove the program
#
# CLARIFIER_INSTALL_DIR    folder of the program (default: %LOCALAPPDATA%\Programs\clarifier)
# CLARIFIER_DOWNLOAD_URL   folder that holds the archives and SHA256SUMS (default: the project's releases)
#
# It runs in Windows PowerShell 5.1 and newer, and never asks for an administrator. `cargo xtask dist` fills in the two defaults below.
[CmdletBinding()]
param(
    [string]$Version = '@VERSION@',
    [switch]$Uninstall
)

# A block, so that `exit` is not needed: it would close the window of whoever pipes this script into iex.
& {
    Set-StrictMode -Version 2
    $ErrorActionPreference = 'Stop'
    # The progress bar makes downloads of Windows PowerShell many times slower.
    $ProgressPreference = 'SilentlyContinue'

    $repository = '@REPOSITORY@'
    $version = $Version -replace '^v', ''
    $directory = if ($env:CLARIFIER_INSTALL_DIR) { $env:CLARIFIER_INSTALL_DIR } else { Join-Path $env:LOCALAPPDATA 'Programs\clarifier' }
    $program = Join-Path $directory 'clarifier.exe'

    if ($Uninstall) {
        if (-not (Test-Path -LiteralPath $program)) {
            throw "There is no $program; set CLARIFIER_INSTALL_DIR to the folder of the program."
        }
        Remove-Item -LiteralPath $program
        if (-not (Get-ChildItem -LiteralPath $directory -Force)) { Remove-Item -LiteralPath $directory }
        Write-Output "Removed $program. Models that you downloaded stay in the Hugging Face cache (%USERPROFILE%\.cache\huggingface)."
        return
    }

    if ($version.StartsWith('@') -or ($repository.StartsWith('@') -and -not $env:CLARIFIER_DOWNLOAD_URL)) {
        throw 'This copy names no release; take install.ps1 from a release, or set CLARIFIER_DOWNLOAD_URL and give -Version.'
    }
    $architecture = switch ([System.Runtime.InteropServices.RuntimeInformation]::OSArchitecture.ToString()) {
        'X64' { 'x86_64' }
        'Arm64' { 'aarch64' }
        default { throw "There is no program for $_ processors; build from source: $repository" }
    }
    $name = "clarifier-$version-$architecture-pc-windows-msvc"
    $url = if ($env:CLARIFIER_DOWNLOAD_URL) { $env:CLARIFIER_DOWNLOAD_URL } else { "$repository/releases/download/v$version" }

    # Windows PowerShell offers TLS 1.0 alone on old systems.
    [Net.ServicePointManager]::SecurityProtocol = [Net.ServicePointManager]::SecurityProtocol -bor [Net.SecurityProtocolType]::Tls12
    $work = Join-Path ([IO.Path]::GetTempPath()) ([IO.Path]::GetRandomFileName())
    $new = Join-Path $directory 'clarifier-new.exe'
    $made = $false
    New-Item -ItemType Directory -Path $work | Out-Null
    try {
        Write-Output "Downloading $url/$name.zip"
        $sums = Join-Path $work 'SHA256SUMS'
        $archive = Join-Path $work 'archive.zip'
        Invoke-WebRequest -UseBasicParsing -Uri "$url/SHA256SUMS" -OutFile $sums
        $line = Get-Content -LiteralPath $sums | Where-Object { ($_ -split '\s+')[1] -eq "$name.zip" } | Select-Object -First 1
        if (-not $line) {
            throw "$url/SHA256SUMS does not list $name.zip: version $version has no program for this machine."
        }
        $expected = ($line -split '\s+')[0]
        Invoke-WebRequest -UseBasicParsing -Uri "$url/$name.zip" -OutFile $archive
        $actual = (Get-FileHash -LiteralPath $archive -Algorithm SHA256).Hash
        # Upper and lower case are the same to -ne.
        if ($actual -ne $expected) {
            throw "The checksum of $name.zip is wrong; nothing was installed. Expected $expected, received $actual."
        }
        Expand-Archive -LiteralPath $archive -DestinationPath $work

        if (-not (Test-Path -LiteralPath $directory)) {
            New-Item -ItemType Directory -Path $directory | Out-Null
            $made = $true
        }
        # In the same folder, so that the old program is replaced at once or not at all.
        Copy-Item -LiteralPath (Join-Path $work "$name\clarifier.exe") -Destination $new -Force
        $said = & $new --version
        if ($LASTEXITCODE -ne 0) { throw "The program does not run on this machine; nothing was installed. $said" }
        Move-Item -LiteralPath $new -Destination $program -Force
        $made = $false
        Write-Output "Installed $said as $program"
    } finally {
        Remove-Item -LiteralPath $work -Recurse -Force -ErrorAction SilentlyContinue
        Remove-Item -LiteralPath $new -Force -ErrorAction SilentlyContinue
        if ($made) { Remove-Item -LiteralPath $directory -ErrorAction SilentlyContinue }
    }

    if (($env:PATH -split ';') -contains $directory) {
        Write-Output 'Try: clarifier upscale photo.jpg'
    } else {
        Write-Output "$directory is not on your PATH. Run this and open a new terminal:"
        Write-Output "  [Environment]::SetEnvironmentVariable('PATH', [Environment]::GetEnvironmentVariable('PATH', 'User') + ';$directory', 'User')"
    }
}
