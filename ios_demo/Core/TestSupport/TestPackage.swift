import Foundation
import RIDCore

/// A Core ML package as rid-export writes them, but for the network.
enum TestPackage {
    /// - Parameters:
    ///   - folder: gets `rid-s.mlpackage`.
    ///   - changes: of the metadata.
    static func write(to folder: URL, _ changes: [String: Any] = [:]) throws -> URL {
        let url = folder.appendingPathComponent("rid-s.mlpackage")
        let data = url.appendingPathComponent("Data/com.apple.CoreML")
        try FileManager.default.createDirectory(
            at: data.appendingPathComponent("weights"), withIntermediateDirectories: true)
        try manifest(path: "com.apple.CoreML/model.mlmodel").write(
            to: url.appendingPathComponent("Manifest.json"))
        try Data([1, 2, 3]).write(to: data.appendingPathComponent("weights/weight.bin"))
        let name = "Data/com.apple.CoreML/model.mlmodel"
        var digest = SHA256()
        // What lies before and after the block; its length is written into the bytes before it.
        let zeros = String(repeating: "0", count: 64)
        let unsealed = document(changes.merging(["network": zeros]) { $1 })
        let bytes = model(unsealed)
        digest.update(Array(name.utf8) + [0])
        digest.update(bytes.prefix(bytes.count - unsealed.count - 2))
        digest.update(bytes.suffix(2))
        digest.update(Array("Data/com.apple.CoreML/weights/weight.bin".utf8) + [0, 1, 2, 3])
        let sealed = document(changes.merging(["network": digest.finish()]) { $1 })
        try model(sealed).write(to: data.appendingPathComponent("model.mlmodel"))
        return url
    }

    /// One whose network takes tiles of 16 pixels.
    static func small(in folder: URL) throws -> URL {
        func tensor(_ name: String, _ dtype: String) -> [String: Any] {
            ["name": name, "dtype": dtype, "shape": [1, 3, 16, 16]]
        }
        return try write(
            to: folder,
            [
                "resolution": 16, "inputs": [tensor("image", "image")],
                "outputs": [tensor("protected", "image"), tensor("delta", "float16")],
            ])
    }

    static func manifest(path: String) -> Data {
        Data(
            """
            {"rootModelIdentifier": "A", "itemInfoEntries": {"A": {"path": "\(path)"}}}
            """.utf8)
    }

    /// specificationVersion, then description > metadata > one user-defined entry, then a field
    /// that is left alone.
    private static func model(_ document: Data) -> Data {
        let entry = field(1, Data("RID_METADATA".utf8)) + field(2, document)
        return Data([0x08, 0x07]) + field(2, field(100, field(100, entry))) + Data([0x18, 0x01])
    }

    private static func field(_ number: Int, _ value: Data) -> Data {
        varint(number << 3 | 2) + varint(value.count) + value
    }

    private static func varint(_ value: Int) -> Data {
        var left = value
        var bytes = Data()
        repeat {
            bytes.append(UInt8(left & 0x7F) | (left > 0x7F ? 0x80 : 0))
            left >>= 7
        } while left > 0
        return bytes
    }

    static func document(_ changes: [String: Any] = [:]) -> Data {
        func tensor(_ name: String, _ dtype: String) -> [String: Any] {
            ["name": name, "dtype": dtype, "shape": [1, 3, 512, 512], "low": 0.0, "high": 1.0]
        }
        let document: [String: Any] = [
            "schema": 1, "format": "coreml", "preset": "rid-s", "levels": 8, "resolution": 512,
            "stride": 16, "layout": "nchw", "precision": "fp32",
            "inputs": [tensor("image", "image")],
            "outputs": [tensor("protected", "image"), tensor("delta", "float16")],
            "weights": String(repeating: "ab", count: 32),
            "network": String(repeating: "cd", count: 32), "licence": "Apache-2.0",
            "version": "0.1.0", "created": "2030-01-01T00:00:00+00:00", "later": [1, 2],
        ]
        let merged = document.merging(changes) { $1 }
        return try! JSONSerialization.data(withJSONObject: merged, options: .sortedKeys)
    }
}
