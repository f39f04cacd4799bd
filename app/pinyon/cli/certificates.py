"""`pinyon certs`: a private certificate authority and a certificate for this machine, for TLS without a domain.

DIR/ca.pem       the authority, which clients trust         DIR/ca.key      its private key, which nobody else may have
DIR/server.pem   the server's certificate, with the CA      DIR/server.key  its private key
DIR/bundle.pem   the system's authorities and this one, for clients whose setting replaces the system's authorities
"""

import ipaddress
import os
import ssl
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import certifi
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from pinyon.errors import FailedPrecondition

AUTHORITY_DAYS, SERVER_DAYS = 3650, 825
"""Validity. Apple's systems refuse server certificates that live longer than 825 days."""
LOCAL_NAMES = ("localhost", "127.0.0.1", "::1")

Authority = tuple[x509.Certificate, ec.EllipticCurvePrivateKey]


def make(folder: Path, names: Sequence[str] = ()) -> list[Path]:
    """Write all five files, for this machine and further host names or addresses. Returns their paths.

    An existing authority is kept, so that clients that trust it need no change. Raises FailedPrecondition if the files
    cannot be written or the existing ones are not usable.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        authority = _authority(folder)
        certificate, key = _server(authority, [*LOCAL_NAMES, *names])
        ca = _pem(authority[0])
        files = {
            "ca.pem": ca,
            "ca.key": _key_pem(authority[1]),
            "server.pem": _pem(certificate) + ca,
            "server.key": _key_pem(key),
            "bundle.pem": _system_roots() + ca,
        }
        for name, content in files.items():
            mode = 0o600 if name.endswith(".key") else 0o644
            new = folder / f"{name}.new"
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode), "wb") as stream:
                stream.write(content)
            new.replace(folder / name)
        return [folder / name for name in files]
    except OSError as error:
        raise FailedPrecondition(f"Cannot write certificates to {folder}: {error.strerror}") from error
    except (ValueError, TypeError) as error:  # TypeError: a key with a password
        raise FailedPrecondition(f"Cannot make certificates in {folder}: {error}") from error


def _authority(folder: Path) -> Authority:
    certificate, key = folder / "ca.pem", folder / "ca.key"
    if certificate.exists() and key.exists():
        private_key = serialization.load_pem_private_key(key.read_bytes(), None)
        if not isinstance(private_key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{key} is not a key that `pinyon certs` made")
        return x509.load_pem_x509_certificate(certificate.read_bytes()), private_key
    if certificate.exists():
        raise ValueError(
            f"{certificate} is there without its key; a new authority would not be trusted by those who "
            "trust this one. Bring ca.key back, or move ca.pem away"
        )
    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pinyon local CA")])
    made = (
        _builder(name, name, private.public_key(), AUTHORITY_DAYS)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(sign_certificates=True), critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .sign(private, hashes.SHA256())
    )
    return made, private


def _server(authority: Authority, names: Sequence[str]) -> Authority:
    issuer, signer = authority
    private = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Pinyon")])
    certificate = (
        _builder(subject, issuer.subject, private.public_key(), SERVER_DAYS)
        .add_extension(x509.SubjectAlternativeName([_general_name(name) for name in dict.fromkeys(names)]), False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(sign_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    return certificate, private


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: int
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(days=days))
    )


def _usage(sign_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=sign_certificates,
        crl_sign=sign_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(name: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(name))
    except ValueError:
        return x509.DNSName(name)


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _system_roots() -> bytes:
    """The authorities that this machine trusts, or Mozilla's list if they are not in one file."""
    file = ssl.get_default_verify_paths().openssl_cafile
    roots = Path(file) if Path(file).is_file() else Path(certifi.where())
    return roots.read_bytes().rstrip() + b"\n"
