import Foundation
import RIDCore
@testable import RIDKit
@testable import RIDTestSupport
import XCTest

/// A photo from file to file, on the stand-ins of Stubs/: our own way through it, not ImageIO's.
final class PhotoSessionTests: XCTestCase {
    private var folder = URL(fileURLWithPath: "")

    override func setUpWithError() throws {
        #if !os(Linux)
        throw XCTSkip("the files here are those of the stand-ins")
        #endif
        folder = FileManager.default.temporaryDirectory.appendingPathComponent(UUID().uuidString)
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    }

    override func tearDown() {
        try? FileManager.default.removeItem(at: folder)
    }

    /// Stored on its side, as a camera does: the network sees it upright, the file stays as it was
    /// but for the protected values and the location.
    func testAPhotoOnItsSide() async throws {
        let (height, width) = (70, 100)
        let stored = Self.photo(height: height, width: width)
        let source = try write(stored, ["Orientation": 6, "{GPS}": ["Latitude": 1]])
        let session = try await session(source)
        let opened = try await session.open()
        XCTAssertEqual(opened.file.orientation, .right)
        XCTAssertEqual(opened.file.format, .heic)
        XCTAssertTrue(opened.file.hasLocation)
        XCTAssertEqual(opened.notes, ["No face was found. The photo is protected all the same."])

        let preview = try await session.preview(strength: 0.5)
        XCTAssertEqual([preview.before.width, preview.before.height], [32, 46])
        XCTAssertEqual([preview.change.width, preview.change.height], [16, 23])
        XCTAssertNotEqual(preview.before.bytes, preview.after.bytes)

        let target = folder.appendingPathComponent("out.heic")
        let exported = try await session.export(
            strength: 1, keepsLocation: false, as: .heic, to: target)
        XCTAssertTrue(exported.verdict.within)
        let (header, bytes) = try read(target)
        XCTAssertEqual(header["Orientation"] as? Int, 6)
        XCTAssertNil(header["{GPS}"])
        XCTAssertEqual(header["EmbedThumbnail"] as? Bool, false)
        XCTAssertEqual((header["{Exif}"] as? [String: String])?["LensModel"], "a lens")
        XCTAssertEqual(header["space"] as? String, "kCGColorSpaceDisplayP3")

        // What the Core gives for the upright photo, turned back.
        var upright = Bitmap(levels: stored.turned(.right))
        let view = try upright.withView { try Protection.workingView(of: $0, side: 16) }
        let unit = try await Protection.predict(view, with: Formula(side: 16))
        let expected = try upright.withView { pixels in
            _ = try Protection.apply(unit, to: pixels, budget: Budget(levels: 8))
            return FloatImage(resampling: pixels, height: width, width: height)
        }
        let found = Bitmap(levels: expected.turned(.left)).bytes
        let steps = zip(found, bytes).map { abs(Int($0) - Int($1)) }
        XCTAssertEqual(bytes.count, found.count)
        XCTAssertLessThanOrEqual(steps.max() ?? 255, 1)
        let left = try FileManager.default.contentsOfDirectory(atPath: folder.path)
        XCTAssertEqual(left.sorted(), ["cache", "in.heic", "out.heic", "rid-s.mlpackage"])
    }

    func testPhotosThatAreRefused() async throws {
        let small = try write(Self.photo(height: 63, width: 70), [:])
        await assert(small) { XCTAssertEqual($0, .photoTooSmall(width: 70, height: 63)) }
        let clear = try write(Self.photo(height: 70, width: 70), ["alpha": true], alpha: 254)
        await assert(clear) { error in
            guard case .photoUnreadable = error else { return XCTFail("\(error)") }
        }
        let opaque = try write(Self.photo(height: 70, width: 70), ["alpha": true])
        _ = try await session(opaque).open()
        let text = folder.appendingPathComponent("in.txt")
        try Data("no photo".utf8).write(to: text)
        await assert(text) { error in
            guard case .photoUnreadable = error else { return XCTFail("\(error)") }
        }
    }

    func testAnUnknownFormatBecomesJPEG() async throws {
        let source = try write(
            Self.photo(height: 70, width: 70), ["type": "org.webmproject.webp", "Depth": 10])
        let opened = try await session(source).open()
        XCTAssertEqual(opened.file.format, .jpeg)
        XCTAssertEqual(opened.notes.first, "10 bits per colour became 8.")
    }

    /// Nothing is left of a file that could not be written.
    func testNoRoom() async throws {
        let source = try write(Self.photo(height: 70, width: 70), [:])
        let session = try await session(source)
        _ = try await session.open()
        let target = folder.appendingPathComponent("absent/out.heic")
        do {
            _ = try await session.export(
                strength: 1, keepsLocation: true, as: .heic, to: target)
            XCTFail("it wrote into a folder that is not there")
        } catch {
            guard case .photoNotWritten = error as? RIDError else { return XCTFail("\(error)") }
        }
    }

    private func session(_ url: URL) async throws -> PhotoSession {
        let models = folder.appendingPathComponent("rid-s.mlpackage")
        if !FileManager.default.fileExists(atPath: models.path) {
            _ = try TestPackage.small(in: folder)
        }
        let library = ModelLibrary(models: folder, cache: folder.appendingPathComponent("cache"))
        return PhotoSession(url: url, defender: try await library.ladder("rid-s"))
    }

    private func assert(_ url: URL, _ check: (RIDError) -> Void) async {
        do {
            _ = try await session(url).open()
            XCTFail("it opened \(url.lastPathComponent)")
        } catch {
            guard let known = error as? RIDError else { return XCTFail("\(error)") }
            check(known)
        }
    }

    private func write(
        _ image: FloatImage, _ properties: [String: Any], alpha: UInt8 = 255
    ) throws -> URL {
        let header: [String: Any] = [
            "type": "public.heic", "PixelWidth": image.width, "PixelHeight": image.height,
            "Depth": 8, "{Exif}": ["LensModel": "a lens"],
        ]
        var file = try JSONSerialization.data(
            withJSONObject: header.merging(properties) { $1 })
        file.append(10)
        var bytes = Bitmap(levels: image).bytes
        bytes[3] = alpha
        file.append(contentsOf: bytes)
        let url = folder.appendingPathComponent("in.heic")
        try file.write(to: url)
        return url
    }

    private func read(_ url: URL) throws -> ([String: Any], [UInt8]) {
        let file = try Data(contentsOf: url)
        let end = try XCTUnwrap(file.firstIndex(of: 10))
        let header = try JSONSerialization.jsonObject(with: file[..<end]) as? [String: Any]
        return (try XCTUnwrap(header), [UInt8](file[(end + 1)...]))
    }

    private static func photo(height: Int, width: Int) -> FloatImage {
        var image = FloatImage(height: height, width: width)
        for index in image.values.indices {
            image.values[index] = Float((index * 7919 + index / 300 * 13) % 256)
        }
        return image
    }
}
