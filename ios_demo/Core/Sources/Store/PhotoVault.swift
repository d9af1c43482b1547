import Foundation

/// Photos that are being protected, on disk until they are saved or given up: an app that is killed
/// finds them again. App and share extension see the same folder.
///
/// Each has a folder of its own, named by a UUID, with the original as it came and a small JSON
/// file. A folder without that file is one whose copying was cut off, and is cleared away.
public actor PhotoVault {
    /// A photo in the vault.
    public struct Entry: Sendable, Equatable, Identifiable {
        public let id: UUID
        /// The original, byte for byte.
        public let original: URL
        public let choices: Choices
        public let added: Date
    }

    /// What the user chose for a photo so far.
    public struct Choices: Sendable, Equatable, Codable {
        /// Share of the bound, above 0 and at most 1.
        public var strength: Double
        public var keepsLocation: Bool

        public init(strength: Double = 1, keepsLocation: Bool = false) {
            self.strength = strength
            self.keepsLocation = keepsLocation
        }
    }

    private struct Record: Codable {
        let file: String
        let added: Date
        var choices: Choices
    }

    private static let recordName = "photo.json"
    private static let graceSeconds: TimeInterval = 3600

    private let folder: URL

    /// - Parameter folder: made when it is absent; in an app group, for extensions to share.
    public init(folder: URL) {
        self.folder = folder
    }

    /// Copies a file in.
    ///
    /// - Throws: `RIDError.photoNotWritten` if there is no room.
    public func add(copying file: URL, choices: Choices = Choices()) throws -> Entry {
        try add(named: "original." + file.pathExtension.lowercased(), choices) { target in
            try FileManager.default.copyItem(at: file, to: target)
        }
    }

    /// Writes a photo in that so far exists in memory only, such as one just taken.
    ///
    /// - Parameter fileExtension: `heic` or `jpg`.
    public func add(
        _ data: Data, fileExtension: String, choices: Choices = Choices()
    ) throws -> Entry {
        try add(named: "original." + fileExtension, choices) { target in
            try data.write(to: target, options: .atomic)
        }
    }

    /// All photos, oldest first.
    ///
    /// What was left behind by a copy that never ended is removed after an hour.
    public func entries() -> [Entry] {
        let folders =
            (try? FileManager.default.contentsOfDirectory(
                at: folder, includingPropertiesForKeys: nil)) ?? []
        return folders.compactMap { folder -> Entry? in
            guard let id = UUID(uuidString: folder.lastPathComponent) else { return nil }
            guard let entry = entry(id) else {
                removeIfStale(folder)
                return nil
            }
            return entry
        }.sorted { $0.added < $1.added }
    }

    /// Remembers what the user chose.
    public func update(_ id: UUID, choices: Choices) throws {
        guard var record = record(id) else { return }
        record.choices = choices
        try write(record, id)
    }

    /// Where a result may be written; it goes when the photo does.
    public func resultURL(_ id: UUID, fileExtension: String) -> URL {
        photoFolder(id).appendingPathComponent("protected." + fileExtension)
    }

    /// Forgets a photo: it was saved, or given up.
    public func remove(_ id: UUID) throws {
        do {
            try FileManager.default.removeItem(at: photoFolder(id))
        } catch CocoaError.fileNoSuchFile {
            return
        }
    }

    private func add(
        named name: String, _ choices: Choices, write: (URL) throws -> Void
    ) throws -> Entry {
        let id = UUID()
        do {
            try FileManager.default.createDirectory(
                at: photoFolder(id), withIntermediateDirectories: true)
            try write(photoFolder(id).appendingPathComponent(name))
            // Last: a folder counts as a photo once this file is there.
            try self.write(Record(file: name, added: Date(), choices: choices), id)
        } catch {
            try? FileManager.default.removeItem(at: photoFolder(id))
            throw RIDError.photoNotWritten(error.localizedDescription)
        }
        guard let entry = entry(id) else {
            throw RIDError.photoNotWritten("it cannot be read back")
        }
        return entry
    }

    private func photoFolder(_ id: UUID) -> URL {
        folder.appendingPathComponent(id.uuidString, isDirectory: true)
    }

    private func record(_ id: UUID) -> Record? {
        let file = photoFolder(id).appendingPathComponent(Self.recordName)
        return (try? Data(contentsOf: file)).flatMap {
            try? JSONDecoder().decode(Record.self, from: $0)
        }
    }

    private func entry(_ id: UUID) -> Entry? {
        guard let record = record(id) else { return nil }
        let original = photoFolder(id).appendingPathComponent(record.file)
        guard FileManager.default.fileExists(atPath: original.path) else { return nil }
        return Entry(id: id, original: original, choices: record.choices, added: record.added)
    }

    private func write(_ record: Record, _ id: UUID) throws {
        let file = photoFolder(id).appendingPathComponent(Self.recordName)
        try JSONEncoder().encode(record).write(to: file, options: .atomic)
    }

    private func removeIfStale(_ folder: URL) {
        let attributes = try? FileManager.default.attributesOfItem(atPath: folder.path)
        let changed = attributes?[.modificationDate] as? Date ?? .distantPast
        if Date().timeIntervalSince(changed) > Self.graceSeconds {
            try? FileManager.default.removeItem(at: folder)
        }
    }
}
