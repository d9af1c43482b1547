import Foundation
import RIDCore
import XCTest

final class PhotoVaultTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "")

    override func setUpWithError() throws {
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
    }

    override func tearDown() {
        try? FileManager.default.removeItem(at: folder)
    }

    /// A second vault on the same folder is the app after it was killed.
    func testAPhotoOutlivesTheApp() async throws {
        let photo = Data((0..<255).map { UInt8($0) })
        let first = PhotoVault(folder: folder)
        let none = await first.entries()
        XCTAssertEqual(none, [])
        let entry = try await first.add(photo, fileExtension: "heic")
        let choices = PhotoVault.Choices(strength: 0.5, keepsLocation: false)
        try await first.update(entry.id, choices: choices)

        let second = PhotoVault(folder: folder)
        let found = await second.entries()
        XCTAssertEqual(found.map(\.id), [entry.id])
        XCTAssertEqual(found[0].choices, choices)
        XCTAssertEqual(try Data(contentsOf: found[0].original), photo)
        XCTAssertEqual(found[0].original.pathExtension, "heic")

        let result = await second.resultURL(entry.id, fileExtension: "heic")
        try photo.write(to: result)
        try await second.remove(entry.id)
        try await second.remove(entry.id)
        XCTAssertFalse(FileManager.default.fileExists(atPath: result.path))
        let left = await second.entries()
        XCTAssertEqual(left, [])
    }

    func testCopies() async throws {
        let vault = PhotoVault(folder: folder)
        let source = FileManager.default.temporaryDirectory
            .appendingPathComponent("\(UUID().uuidString).JPG")
        try Data([1, 2, 3]).write(to: source)
        defer { try? FileManager.default.removeItem(at: source) }
        let entry = try await vault.add(copying: source)
        XCTAssertEqual(entry.original.lastPathComponent, "original.jpg")
        XCTAssertTrue(FileManager.default.fileExists(atPath: source.path))
        let missing = folder.appendingPathComponent("none.jpg")
        do {
            _ = try await vault.add(copying: missing)
            XCTFail("it copied what is not there")
        } catch {
            guard case .photoNotWritten = error as? RIDError else { return XCTFail("\(error)") }
        }
        let entries = await vault.entries()
        XCTAssertEqual(entries, [entry])
    }

    /// A copy that was cut off is no photo, and goes after an hour.
    func testWhatWasCutOff() async throws {
        let vault = PhotoVault(folder: folder)
        let young = folder.appendingPathComponent(UUID().uuidString)
        let old = folder.appendingPathComponent(UUID().uuidString)
        for copy in [young, old] {
            try FileManager.default.createDirectory(at: copy, withIntermediateDirectories: true)
            try Data([1]).write(to: copy.appendingPathComponent("original.jpg"))
        }
        try FileManager.default.setAttributes(
            [.modificationDate: Date(timeIntervalSinceNow: -4000)], ofItemAtPath: old.path)
        let entries = await vault.entries()
        XCTAssertEqual(entries, [])
        XCTAssertTrue(FileManager.default.fileExists(atPath: young.path))
        XCTAssertFalse(FileManager.default.fileExists(atPath: old.path))
    }

    func testNoRoom() async throws {
        // A folder that cannot be made, since a file is in its place.
        try Data().write(to: folder)
        do {
            _ = try await PhotoVault(folder: folder).add(Data([1]), fileExtension: "jpg")
            XCTFail("it wrote into a file")
        } catch {
            guard case .photoNotWritten = error as? RIDError else { return XCTFail("\(error)") }
        }
    }
}
