import Foundation

/// A Core ML package as files: its metadata, and whether it is still what was exported.
///
/// Xcode compiles a package and the digest is lost, so the app ships packages as they are, checks
/// them, and lets Core ML compile them on the device (`ModelLibrary` in the Kit).
public struct ModelPackage: Sendable {
    /// Of the folder `*.mlpackage`.
    public let url: URL
    public let metadata: ModelMetadata

    private let modelFile: URL
    private let block: Range<Int>

    // Field numbers of Model.proto and FeatureTypes.proto.
    private static let description = 2
    private static let metadataMessage = 100
    private static let userDefined = 100

    /// Reads manifest and metadata.
    ///
    /// - Throws: `RIDError.modelMissing`, `.modelDamaged` or `.modelUnsupported`.
    public init(url: URL) throws {
        let name = url.lastPathComponent
        guard FileManager.default.fileExists(atPath: url.path) else {
            throw RIDError.modelMissing(name)
        }
        self.url = url
        modelFile = try Self.rootModel(of: url)
        let bytes = try Self.read(modelFile)
        guard let blocks = try? Self.metadataBlocks(in: bytes) else {
            throw RIDError.modelDamaged("\(name) is truncated")
        }
        guard let block = blocks.first, blocks.count == 1 else {
            throw RIDError.modelUnsupported("\(name) was not written by rid-export")
        }
        self.block = block
        metadata = try ModelMetadata(json: Data(bytes[block]))
    }

    /// Refuses a package whose network is not the one that was measured at export.
    ///
    /// - Throws: `RIDError.modelDamaged`.
    public func checkDigest() throws {
        guard try digest() == metadata.network else {
            throw RIDError.modelDamaged(
                "\(url.lastPathComponent) has another digest than the one it was exported with")
        }
    }

    /// Bytes of all files under `Data`.
    public func sizeBytes() throws -> Int {
        try parts().reduce(0) { try $0 + Self.read($1.url).count }
    }

    /// SHA-256 over names and bytes of everything under `Data`, the metadata block left out.
    func digest() throws -> String {
        var digest = SHA256()
        for file in try parts() {
            digest.update(Array(file.path.utf8) + [0])
            let bytes = try Self.read(file.url)
            if file.url.standardizedFileURL == modelFile.standardizedFileURL {
                digest.update(bytes[..<block.lowerBound])
                digest.update(bytes[block.upperBound...])
            } else {
                digest.update(bytes)
            }
        }
        return digest.finish()
    }

    /// Files under `Data` with their paths inside the package, sorted; hidden ones do not count.
    private func parts() throws -> [(path: String, url: URL)] {
        let folder = url.appendingPathComponent("Data", isDirectory: true)
        guard let paths = try? FileManager.default.subpathsOfDirectory(atPath: folder.path) else {
            throw RIDError.modelDamaged("\(url.lastPathComponent) has no Data folder")
        }
        return paths.filter { path in
            var isFolder: ObjCBool = false
            let file = folder.appendingPathComponent(path).path
            let exists = FileManager.default.fileExists(atPath: file, isDirectory: &isFolder)
            return exists && !isFolder.boolValue
                && !path.split(separator: "/").contains { $0.hasPrefix(".") }
        }
        // Component by component, as the exporter sorts.
        .map { ($0.split(separator: "/").map { Array($0.utf8) }, $0) }
        .sorted { $0.0.lexicographicallyPrecedes($1.0) { $0.lexicographicallyPrecedes($1) } }
        .map { ("Data/" + $0.1, folder.appendingPathComponent($0.1)) }
    }

    private static func rootModel(of package: URL) throws -> URL {
        struct Manifest: Decodable {
            struct Entry: Decodable {
                let path: String
            }
            let itemInfoEntries: [String: Entry]
            let rootModelIdentifier: String
        }
        let name = package.lastPathComponent
        guard let json = try? Data(contentsOf: package.appendingPathComponent("Manifest.json")),
            let manifest = try? JSONDecoder().decode(Manifest.self, from: json),
            let entry = manifest.itemInfoEntries[manifest.rootModelIdentifier]
        else { throw RIDError.modelDamaged("the manifest of \(name) names no model") }
        let data = package.appendingPathComponent("Data", isDirectory: true)
        let file = data.appendingPathComponent(entry.path).standardizedFileURL
        guard file.path.hasPrefix(data.standardizedFileURL.path + "/"),
            FileManager.default.fileExists(atPath: file.path)
        else { throw RIDError.modelDamaged("the model of \(name) is missing") }
        return file
    }

    private static func read(_ file: URL) throws -> [UInt8] {
        guard let data = try? Data(contentsOf: file, options: .mappedIfSafe) else {
            throw RIDError.modelDamaged("\(file.lastPathComponent) cannot be read")
        }
        return [UInt8](data)
    }

    /// Where our document lies: description > metadata > user-defined entries > value of our key.
    private static func metadataBlocks(in bytes: [UInt8]) throws -> [Range<Int>] {
        let walker = ProtobufFields(bytes: bytes)
        let key = Array(ModelMetadata.key.utf8)
        var messages = [0..<bytes.count]
        for number in [description, metadataMessage, userDefined] {
            messages = try messages.flatMap { message in
                try walker.fields(in: message).filter { $0.number == number }.map(\.range)
            }
        }
        return try messages.compactMap { entry in
            let fields = try walker.fields(in: entry)
            let name = fields.last { $0.number == 1 }
            let value = fields.last { $0.number == 2 }
            guard let name, let value, bytes[name.range].elementsEqual(key) else { return nil }
            return value.range
        }
    }
}
